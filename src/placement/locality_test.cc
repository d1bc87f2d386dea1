#include "placement/locality.h"

#include <gtest/gtest.h>

namespace outlast::placement {
namespace {

Locality at(const char* text) {
  return parse_locality(text).value();
}

TEST(Locality, ReadsBackWhatItWrote) {
  for (const char* text : {"", "zone=b", "region=a,zone=b,rack=7"}) EXPECT_EQ(to_string(at(text)), text);
  EXPECT_EQ(describe(at("region=a,zone=b")), "region a, zone b");
}

TEST(Locality, RefusesWhatNobodyCanMean) {
  for (const char* text : {"a", "=b", "a=", "a=b,,c=d", "zone=a,zone=b"})
    EXPECT_EQ(parse_locality(text).error().code, Errc::kInvalidArgument) << text;
}

TEST(Locality, DistanceCountsFromTheFirstTierThatDiffers) {
  EXPECT_EQ(distance(at("region=a,zone=b"), at("region=a,zone=b")), 0);
  EXPECT_EQ(distance(at("region=a,zone=b"), at("region=a,zone=c")), 1);
  EXPECT_EQ(distance(at("region=a,zone=b"), at("region=x,zone=b")), 2);
  EXPECT_EQ(distance(at(""), at("region=x,zone=b")), 2);
  EXPECT_EQ(distance(at(""), at("")), 0);
}

}  // namespace
}  // namespace outlast::placement
