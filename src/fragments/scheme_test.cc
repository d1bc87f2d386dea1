#include "fragments/scheme.h"

#include <gtest/gtest.h>

namespace outlast::fragments {
namespace {
using executor::Blob;
using executor::Null;

Scheme days() {
  return {.kind = Scheme::Kind::kRange,
          .column = "ts",
          .type = KeyType::kTimestamp,
          .interval = *parse_interval("1 day"),
          .ttl = *parse_interval("90 days")};
}

TEST(Scheme, HashesAsEveryVersionDoes) {  // calculated apart from this code
  EXPECT_EQ(key_hash(KeyType::kInteger, std::int64_t{5}), 0xa4b6c748882df59cULL);
  EXPECT_EQ(key_hash(KeyType::kInteger, std::int64_t{-1}), 0x16446363ed6064e5ULL);
  EXPECT_EQ(key_hash(KeyType::kText, std::string("abc")), 0x69bdf51621e8d62eULL);
  EXPECT_EQ(key_hash(KeyType::kText, std::string()), 0xce03a4a8854cb33bULL);
  EXPECT_EQ(key_hash(KeyType::kText, Null{}), 0x0b3f11e5051d8d0bULL);
  EXPECT_EQ(key_hash(KeyType::kBytes, Blob{std::string("\0\xff", 2)}), 0x1f34b48838d6590bULL);
}

TEST(Scheme, HashesWhatSqliteTakesForEqualAlike) {
  const auto whole = key_hash(KeyType::kInteger, std::int64_t{5});
  for (const Value& same : {Value(5.0), Value(std::string("5")), Value(std::string(" 5.0 ")), Value(std::string("+5")),
                            Value(std::string("50e-1"))})
    EXPECT_EQ(key_hash(KeyType::kInteger, same), whole);
  EXPECT_EQ(key_hash(KeyType::kText, std::int64_t{5}), key_hash(KeyType::kText, std::string("5")));
  EXPECT_EQ(key_hash(KeyType::kText, 5.0), key_hash(KeyType::kText, std::string("5.0")));
  EXPECT_NE(key_hash(KeyType::kText, std::string("a ")), key_hash(KeyType::kText, std::string("a")));
  EXPECT_EQ(key_hash(KeyType::kPaddedText, std::string("a  ")), key_hash(KeyType::kPaddedText, std::string("a")));
}

TEST(Scheme, PutsTimesIntoIntervalsOfUtc) {
  const Scheme scheme = days();
  EXPECT_EQ(*scheme.slot_of(std::string("2000-01-03 00:00:00")), 0);
  EXPECT_EQ(*scheme.slot_of(std::string("2000-01-02 23:59:59.999999")), -1);
  EXPECT_EQ(*scheme.slot_of(std::string("2000-01-04 23:59:59.5")), 1);
  EXPECT_EQ(scheme.first_key(1), "2000-01-04 00:00:00");
  EXPECT_EQ(scheme.last_key(1), "2000-01-04 23:59:59.999999");
  EXPECT_EQ(scheme.slot_of(Null{}).error().code, Errc::kNotNullViolation);
  for (const char* wrong : {"yesterday", "2000-02-30 00:00:00", "2000-01-03T00:00:00", "2000-01-03 00:00:00+02",
                            "2000-01-03", "2000-01-03 00:00:00.50", "2000-1-3 00:00:00"})
    EXPECT_EQ(scheme.slot_of(std::string(wrong)).error().code, Errc::kInvalidDatetime) << wrong;
}

TEST(Scheme, CountsMonthsByTheCalendar) {
  Scheme scheme = days();
  scheme.type = KeyType::kDate, scheme.interval = *parse_interval("3 months");
  EXPECT_EQ(*scheme.slot_of(std::string("2000-03-31")), 0);
  EXPECT_EQ(*scheme.slot_of(std::string("1999-12-31")), -1);
  EXPECT_EQ(scheme.first_key(-1), "1999-10-01");
  EXPECT_EQ(scheme.last_key(0), "2000-03-31");
}

TEST(Scheme, ExpiresAPartitionWhenItsLastRowIsOlderThanTheTtl) {
  Scheme scheme = days();
  const std::int64_t end_of_first = 10'960LL * 86'400'000'000;  // 2000-01-04
  const std::int64_t ninety_days = 90LL * 86'400'000'000;
  EXPECT_FALSE(scheme.is_expired(0, end_of_first + ninety_days - 1));
  EXPECT_TRUE(scheme.is_expired(0, end_of_first + ninety_days));
  scheme.ttl = *parse_interval("1 month");
  const std::int64_t march_31 = 11'047LL * 86'400'000'000;  // a month before: the last day of February, the 29th
  EXPECT_TRUE(scheme.is_expired(56, march_31));
  EXPECT_FALSE(scheme.is_expired(57, march_31));
}

TEST(Scheme, ReadsIntervals) {
  for (const char* text : {"1 day", "12 hours", "90 days", "3 months", "2 years", "1 second", "45 minutes"})
    EXPECT_EQ(to_string(*parse_interval(text)), text);
  EXPECT_EQ(*parse_interval("1 week"), *parse_interval("7 days"));
  EXPECT_EQ(*parse_interval("1 year 6 months"), *parse_interval("18 months"));
  for (const char* wrong :
       {"", "1", "day", "0 days", "-1 day", "1 month 1 day", "1 fortnight", "1.5 days", "2000 years"})
    EXPECT_EQ(parse_interval(wrong).error().code, Errc::kInvalidArgument) << wrong;
}

TEST(Scheme, IsARecordThatLaterVersionsMayExtend) {
  const Scheme hash{.kind = Scheme::Kind::kHash, .column = "k", .type = KeyType::kPaddedText, .partitions = 8};
  EXPECT_EQ(encode(hash), R"({"kind":"hash","column":"k","type":"padded_text","partitions":8})");
  for (const Scheme& scheme : {hash, days()}) EXPECT_EQ(*decode_scheme(encode(scheme)), scheme);
  EXPECT_EQ(*decode_scheme(R"({"kind":"hash","column":"k","type":"padded_text","partitions":8,"later":[1]})"), hash);
  for (const char* wrong :
       {"", "[]", "{}", R"({"kind":"list","column":"k","type":"text","partitions":8})",
        R"({"kind":"hash","column":"k","type":"text","partitions":0})", R"({"kind":"hash","column":"k","type":"text"})",
        R"({"kind":"hash","column":"k","type":"float","partitions":8})",
        R"({"kind":"range","column":"k","type":"text","interval":"1 day"})",
        R"({"kind":"range","column":"k","type":"date","interval":"soon"})"})
    EXPECT_EQ(decode_scheme(wrong).error().code, Errc::kCorrupt) << wrong;
}

}  // namespace
}  // namespace outlast::fragments
