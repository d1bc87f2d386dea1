#include "sql/session/copy_format.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

namespace outlast::sql {
namespace {
CopyFormat csv(bool header = false) {
  return {.csv = true, .header = header, .delimiter = ',', .null_text = ""};
}

Result<std::vector<CopyRow>> parse_all(const CopyFormat& format, std::string_view bytes, std::size_t chunk) {
  CopyParser parser(format, 1 << 20);
  std::vector<CopyRow> rows;
  for (std::size_t at = 0; at <= bytes.size(); at += chunk) {
    if (at < bytes.size()) parser.feed(bytes.substr(at, chunk));
    if (at + chunk >= bytes.size()) parser.finish();
    for (;;) {
      auto row = parser.next();
      if (!row.ok()) return std::move(row).error();
      if (!*row) break;
      rows.push_back(**row);
    }
  }
  return rows;
}

TEST(CopyText, ReadsEscapesNullsAndALastLineWithoutEnd) {
  const auto rows = parse_all({}, "1\ta\\tb\\\\\n\\N\t\\N\r\n3\t\\x41\\102", 2);
  ASSERT_TRUE(rows.ok());
  ASSERT_EQ(rows->size(), 3u);
  EXPECT_EQ((*rows)[0], (CopyRow{"1", "a\tb\\"}));
  EXPECT_EQ((*rows)[1], (CopyRow{std::nullopt, std::nullopt}));
  EXPECT_EQ((*rows)[2], (CopyRow{"3", "AB"}));
}

TEST(CopyText, StopsAtTheEndMarker) {
  const auto rows = parse_all({}, "1\n\\.\nnot data\n", 100);
  ASSERT_TRUE(rows.ok());
  EXPECT_EQ(rows->size(), 1u);
}

TEST(CopyText, TakesABackslashBeforeALineEndAsData) {
  const auto rows = parse_all({}, "a\\\nb\nc\\\\\nd\n", 1);
  ASSERT_TRUE(rows.ok());
  ASSERT_EQ(rows->size(), 3u);
  EXPECT_EQ((*rows)[0], (CopyRow{"a\nb"}));
  EXPECT_EQ((*rows)[1], (CopyRow{"c\\"}));
}

TEST(CopyText, RefusesBytesThatAreNotUtf8AndTooLongLines) {
  EXPECT_EQ(parse_all({}, "\xff\n", 10).error().code, Errc::kInvalidText);
  CopyParser parser({}, 10);
  parser.feed("0123456789abc");
  EXPECT_EQ(parser.next().error().code, Errc::kTooLarge);
}

TEST(CopyCsv, ReadsQuotesLinesInsideThemAndEmptyAsNull) {
  const auto rows = parse_all(csv(true), "h1,h2\n1,\"a,\"\"b\"\"\nc\"\n,\"\"\n", 3);
  ASSERT_TRUE(rows.ok());
  ASSERT_EQ(rows->size(), 2u);
  EXPECT_EQ((*rows)[0], (CopyRow{"1", "a,\"b\"\nc"}));
  EXPECT_EQ((*rows)[1], (CopyRow{std::nullopt, ""}));
  EXPECT_EQ(parse_all(csv(), "1,\"open\n", 3).error().code, Errc::kBadCopyFormat);
}

// Whatever is written is read back, in any portions. OUTLAST_SEED=<n> replays one run.
TEST(CopyFormat, ReadsBackWhatItWrote) {
  const char* given = std::getenv("OUTLAST_SEED");
  const unsigned long seed = given != nullptr ? std::strtoul(given, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE("OUTLAST_SEED=" + std::to_string(seed));
  std::mt19937_64 random(seed);
  const std::string alphabet = "a1,\"\\\n\r\t.N|x'";
  for (int round = 0; round < 3000; ++round) {
    const CopyFormat format = round % 2 == 0 ? CopyFormat{} : csv();
    std::vector<CopyRow> rows(1 + random() % 4);
    const std::size_t columns = 1 + random() % 3;
    std::string bytes;
    for (CopyRow& row : rows) {
      for (std::size_t c = 0; c < columns; ++c) {
        if (random() % 5 == 0) {
          row.emplace_back(std::nullopt);
          continue;
        }
        std::string field(random() % 6, ' ');
        for (char& ch : field) ch = alphabet[random() % alphabet.size()];
        row.emplace_back(std::move(field));
      }
      append_copy_row(format, row, bytes);
    }
    const auto read = parse_all(format, bytes, 1 + random() % 5);
    ASSERT_TRUE(read.ok()) << read.error().message << "\n" << bytes;
    ASSERT_EQ(*read, rows) << bytes;
  }
}
}  // namespace
}  // namespace outlast::sql
