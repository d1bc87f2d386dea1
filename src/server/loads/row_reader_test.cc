#include "server/loads/row_reader.h"

#include <gtest/gtest.h>

#include <random>

namespace outlast::server {
namespace {
using executor::Null;
using executor::Value;
using namespace std::string_literals;

std::vector<LoadColumn> columns() {
  return {{"k", {sql::oid::kInt8, -1}}, {"v", {sql::oid::kText, -1}}};
}

/// Everything that a reader says, a line for each row, reason or error.
std::string read(const LoadFormat& format, std::string_view bytes, std::size_t portion, std::size_t row_max = 1000) {
  LoadRowReader reader(format, columns(), row_max);
  std::string out;
  for (bool more = true; more;) {
    more = !bytes.empty();
    reader.feed(bytes.substr(0, portion));
    bytes.remove_prefix(std::min(portion, bytes.size()));
    if (!more) reader.finish();
    for (;;) {
      loads::PackedRows batch(columns().size());
      const auto next = reader.next(batch);
      if (!next.ok()) return out + "error: " + next.error().message;
      if (*next == LoadRowReader::Read::kNothing) break;
      EXPECT_EQ(batch.rows(), *next == LoadRowReader::Read::kRow ? 1U : 0U);
      if (*next == LoadRowReader::Read::kNoRow) {
        out += reader.reason() + "\n";
        continue;
      }
      const auto rows = batch.unpack();
      for (const Value& value : rows.front()) {
        if (std::holds_alternative<Null>(value)) out += "NULL ";
        if (const auto* number = std::get_if<std::int64_t>(&value)) out += std::to_string(*number) + " ";
        if (const auto* text = std::get_if<std::string>(&value)) out += "'" + *text + "' ";
      }
      out += "\n";
    }
  }
  return out;
}

constexpr LoadFormat kCsv{}, kJson{.kind = LoadFormat::Kind::kJson};

/// In whatever portions the bytes come.
void expect_read(const LoadFormat& format, const std::string& bytes, const std::string& rows) {
  for (std::size_t portion = 1; portion <= bytes.size() + 1; ++portion)
    ASSERT_EQ(read(format, bytes, portion), rows) << "in portions of " << portion;
}

TEST(LoadRowReader, TakesCsvInAnyPortions) {
  expect_read(kCsv, "1,plain\n2,\"quo\"\"ted,\nover lines\"\r\n3,\n,\\N\n4,\"\"\n5,end",
              "1 'plain' \n2 'quo\"ted,\nover lines' \n3 '' \nNULL NULL \n4 '' \n5 'end' \n");
  expect_read({.separator = '\t', .skip_header = true}, "k\tv\n1\ta,b\n", "1 'a,b' \n");
  expect_read(kCsv, "", "");
}

TEST(LoadRowReader, SaysWhichCsvRowDoesNotFitAndGoesOn) {
  expect_read(kCsv, "1,a\nx,b\n3\n4,d\n",
              "1 'a' \ninvalid input syntax for type bigint: \"x\" in column \"k\" (line 2)\n"
              "a row has 1 fields and not 2 (line 3)\n4 'd' \n");
  expect_read(kCsv, "1,\"a\n", "error: unterminated CSV quoted field (COPY, line 1)");
}

TEST(LoadRowReader, TakesJsonInAnyPortionsAndShapes) {
  const std::string rows = "1 'a' \n2 '}\"]' \nNULL 'c' \n4 '{\"x\":[1,2]}' \n5 NULL \n";
  const std::vector<std::string> objects = {R"({"k":1,"v":"a"})", R"({"v":"}\"]","k":"2"})", R"({"v":"c","more":[{}]})",
                                            R"({"k":4,"v":{"x":[1,2]}})", R"({"k":5,"v":null})"};
  std::string array = "[", lines, together;
  for (const std::string& object : objects) {
    array += (array.size() > 1 ? ",\n " : "") + object;
    lines += object + "\n";
    together += object;
  }
  expect_read(kJson, array + "]", rows);
  expect_read(kJson, lines, rows);
  expect_read(kJson, together, rows);
}

TEST(LoadRowReader, RefusesWhatIsNoJsonWithASentence) {
  expect_read(kJson, "{\"k\":1}\n7,seven\n", "1 NULL \nerror: the data is not JSON objects: after row 1 comes '7'");
  expect_read(kJson, "{\"k\":1", "error: the data ends in the middle of a JSON object");
  expect_read(kJson, "{\"k\":1,}{\"k\":2}", "a row is not a JSON object (row 1)\n2 NULL \n");
  expect_read(kJson, "{\"k\":\"one\"}", "invalid input syntax for type bigint: \"one\" in column \"k\" (row 1)\n");
}

TEST(LoadRowReader, EndsAtARowThatIsTooLarge) {
  const std::string large(200, 'x');
  EXPECT_TRUE(read(kJson, "{\"v\":\"" + large + "\"", 50, 100).starts_with("error: a JSON object is too large"));
  EXPECT_TRUE(read(kCsv, "1," + large, 50, 100).starts_with("error: COPY line 1 is longer than 100 bytes"));
}

TEST(LoadRowReader, FindsInRandomCsvWhatWasWritten) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 chance(seed);
  for (int round = 0; round < 50; ++round) {
    std::string bytes, rows;
    for (int row = 0; row < 20; ++row) {
      std::string text;
      for (std::size_t size = chance() % 12; text.size() < size;) text += "ab,\"\n\r 7"[chance() % 8];
      std::string quoted;
      for (const char c : text) quoted += c == '"' ? "\"\""s : std::string(1, c);
      bytes += std::to_string(row) + ",\"" + quoted + "\"\n";
      rows += std::to_string(row) + " '" + text + "' \n";
    }
    ASSERT_EQ(read(kCsv, bytes, 1 + chance() % 40), rows);
  }
}

}  // namespace
}  // namespace outlast::server
