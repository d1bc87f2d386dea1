#include "ingest/tag_pattern.h"

#include <gtest/gtest.h>

namespace outlast::ingest {
namespace {

bool matches(const char* pattern, const char* tag) {
  const auto parsed = TagPattern::parse(pattern);
  EXPECT_TRUE(parsed.ok()) << parsed.error().message;
  return parsed.ok() && parsed->matches(tag);
}

TEST(TagPattern, StarIsOnePart) {
  EXPECT_TRUE(matches("a.*", "a.b"));
  EXPECT_FALSE(matches("a.*", "a"));
  EXPECT_FALSE(matches("a.*", "a.b.c"));
  EXPECT_TRUE(matches("a.*.c", "a.b.c"));
  EXPECT_TRUE(matches("web*.log", "web12.log"));
  EXPECT_FALSE(matches("web*.log", "db1.log"));
  EXPECT_TRUE(matches("*", "a"));
}

TEST(TagPattern, TwoStarsAreAnyNumberOfParts) {
  for (const char* tag : {"a", "a.b", "a.b.c"}) EXPECT_TRUE(matches("a.**", tag)) << tag;
  EXPECT_FALSE(matches("a.**", "ab"));
  for (const char* tag : {"a", "b.a", "c.b.a"}) EXPECT_TRUE(matches("**.a", tag)) << tag;
  EXPECT_TRUE(matches("a.**.z", "a.z"));
  EXPECT_TRUE(matches("a.**.z", "a.b.c.z"));
  EXPECT_FALSE(matches("a.**.z", "a.b.c"));
  EXPECT_TRUE(matches("**", "x.y"));
}

TEST(TagPattern, BracesAreEither) {
  EXPECT_TRUE(matches("{a,b}", "a"));
  EXPECT_TRUE(matches("{a,b}", "b"));
  EXPECT_FALSE(matches("{a,b}", "c"));
  EXPECT_TRUE(matches("a.{b,c}.*", "a.c.x"));
  EXPECT_TRUE(matches("{a.**,b}", "a.x.y"));
  EXPECT_TRUE(matches("{a,{b,c}d}", "cd"));
  EXPECT_TRUE(matches("{web,}log", "log"));
}

TEST(TagPattern, SpacesSeparatePatterns) {
  EXPECT_TRUE(matches("a.* b.**", "b"));
  EXPECT_TRUE(matches("a.*  b.**", "a.x"));
  EXPECT_FALSE(matches("a.* b.**", "c"));
}

TEST(TagPattern, RefusesWhatCannotBeMeant) {
  for (const char* pattern : {"", " ", "{a", "a}", "a..b", "a.**b", "{a,b}}", "a."})
    EXPECT_EQ(TagPattern::parse(pattern).error().code, Errc::kInvalidArgument) << pattern;
  EXPECT_EQ(TagPattern::parse("{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}").error().code, Errc::kInvalidArgument);
}

}  // namespace
}  // namespace outlast::ingest
