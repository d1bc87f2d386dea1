#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "base/ids.h"
#include "base/parse.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;

TEST(ParseDuration, ReadsWhatPeopleWrite) {
  EXPECT_EQ(parse_duration("8s").value(), 8s);
  EXPECT_EQ(parse_duration("1m30s").value(), 90s);
  EXPECT_EQ(parse_duration("250ms").value(), 250ms);
  EXPECT_EQ(parse_duration("1.5h").value(), 90min);
  EXPECT_EQ(parse_duration("5m0s").value(), 5min);
  EXPECT_EQ(parse_duration("0").value(), 0s);
}

TEST(ParseDuration, RefusesWhatHasNoUnitOrNoMeaning) {
  for (const char* text : {"", "8", "-1s", "s", "8 parsecs", "1e3s", "999999999999h", "8s8"})
    EXPECT_EQ(parse_duration(text).error().code, Errc::kInvalidArgument) << text;
}

TEST(ParseDuration, ReadsBackWhatItFormats) {
  for (const Duration d : {Duration(0s), Duration(90s), Duration(250ms), Duration(1h + 1ns), Duration(1500us)})
    EXPECT_EQ(parse_duration(format_duration(d)).value(), d) << format_duration(d);
}

TEST(ParseBytes, KnowsBothFamiliesOfUnits) {
  EXPECT_EQ(parse_bytes("64MiB").value(), 64U << 20);
  EXPECT_EQ(parse_bytes("1.5GB").value(), 1'500'000'000U);
  EXPECT_EQ(parse_bytes("4096").value(), 4096U);
  EXPECT_FALSE(parse_bytes("64 MeB").ok());
  EXPECT_FALSE(parse_bytes("-1").ok());
  EXPECT_EQ(format_bytes(64U << 20), "64 MiB");
  EXPECT_EQ(format_bytes(1536), "1.5 KiB");
}

TEST(Crc32c, MatchesThePublishedVectors) {  // RFC 3720 B.4
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43U);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283U);
  EXPECT_EQ(crc32c("56789", crc32c("1234")), crc32c("123456789"));
}

TEST(Crc32c, IsTheSameHoweverTheBytesAreCut) {  // long stretches go another way than their pieces
  std::string bytes;
  for (int i = 0; i < 10'000; ++i) bytes += static_cast<char>(i * 7919 >> 3);
  for (const std::size_t size : {1535U, 1536U, 1537U, 4096U, 9'999U}) {
    std::uint32_t by_byte = 0;
    for (std::size_t i = 0; i < size; ++i) by_byte = crc32c(bytes.data() + 1 + i, 1, by_byte);
    EXPECT_EQ(crc32c(bytes.data() + 1, size, 0), by_byte) << size;
  }
}

TEST(ErrorTable, NamesReadBack) {
  for (int i = 0; i <= static_cast<int>(Errc::kInternal); ++i)
    EXPECT_EQ(errc_from_name(facts(static_cast<Errc>(i)).name), static_cast<Errc>(i));
  EXPECT_EQ(errc_from_name("from a newer version"), Errc::kInternal);
}

TEST(SeededRandom, RepeatsItself) {
  SeededRandom a(7), b(7), c(8);
  EXPECT_EQ(a.next(), b.next());
  EXPECT_NE(a.next(), c.next());
}

}  // namespace
}  // namespace outlast
