#include "fragments/create.h"

#include <gtest/gtest.h>

namespace outlast::fragments {
namespace {

Result<PartitionedCreate> create(const std::string& text) {
  auto parsed = parse_partitioned_create(text);
  if (!parsed) return Error(Errc::kInternal, "not taken for a partitioned CREATE TABLE");
  return std::move(*parsed);
}

TEST(PartitionedCreate, ReadsHash) {
  const auto made =
      create("create table if not exists t (k int primary key, s text) partition by hash (k) partitions 8;");
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(made->table, "t");
  EXPECT_TRUE(made->if_not_exists);
  EXPECT_EQ(made->sql, "create table if not exists t (k int primary key, s text) ");
  EXPECT_EQ(made->scheme, (Scheme{.column = "k", .type = KeyType::kInteger, .partitions = 8}));
}

TEST(PartitionedCreate, ReadsRange) {
  for (const char* tail : {"INTERVAL '1 day' TTL '90 days'", "interval 1 day ttl interval '90 days'"}) {
    const auto made =
        create(std::string("CREATE TABLE e (ts timestamptz NOT NULL, s text) PARTITION BY RANGE (ts) ") + tail);
    ASSERT_TRUE(made.ok()) << made.error().message;
    EXPECT_EQ(made->scheme.interval, *parse_interval("1 day"));
    EXPECT_EQ(made->scheme.ttl, *parse_interval("90 days"));
    EXPECT_EQ(made->scheme.type, KeyType::kTimestamp);
  }
}

TEST(PartitionedCreate, LeavesOtherStatementsAlone) {
  for (const char* text : {"SELECT 1", "CREATE TABLE t (a int)", "", "CREATE INDEX i ON t (a)",
                           "CREATE VIEW v AS SELECT sum(a) OVER (PARTITION BY b) FROM t", "CREATE TABLE 'broken"})
    EXPECT_FALSE(parse_partitioned_create(text)) << text;
}

struct Refusal {
  const char* text;
  Errc code;
  const char* reason;
};

TEST(PartitionedCreate, RefusesWithTheReason) {
  const Refusal cases[] = {
      {"CREATE TABLE t (a int PRIMARY KEY, k int) PARTITION BY HASH (k) PARTITIONS 4", Errc::kSyntax, "each partition"},
      {"CREATE TABLE t (a int, k int, UNIQUE (a)) PARTITION BY HASH (k) PARTITIONS 4", Errc::kSyntax, "UNIQUE must"},
      {"CREATE TABLE t (k int REFERENCES o) PARTITION BY HASH (k) PARTITIONS 4", Errc::kSyntax, "foreign keys"},
      {"CREATE TABLE t (k int, n serial) PARTITION BY HASH (k) PARTITIONS 4", Errc::kSyntax, "count for itself"},
      {"CREATE TABLE t (a int) PARTITION BY HASH (k) PARTITIONS 4", Errc::kUndefinedColumn, "does not exist"},
      {"CREATE TABLE t (k float8) PARTITION BY HASH (k) PARTITIONS 4", Errc::kDatatypeMismatch, "float8"},
      {"CREATE TABLE t (k int) PARTITION BY HASH (k)", Errc::kInvalidArgument, "number of partitions"},
      {"CREATE TABLE t (k int) PARTITION BY HASH (k) PARTITIONS 1001", Errc::kInvalidArgument, "1000"},
      {"CREATE TABLE t (k int, b int) PARTITION BY HASH (k, b) PARTITIONS 4", Errc::kSyntax, "exactly one"},
      {"CREATE TABLE t (k int) PARTITION BY LIST (k)", Errc::kSyntax, "HASH or RANGE"},
      {"CREATE TABLE t (k int) PARTITION BY HASH (k) SHARDS 4", Errc::kSyntax, "PARTITIONS n"},
      {"CREATE TABLE t (k int) PARTITION BY HASH (k) PARTITIONS 4; SELECT 1", Errc::kSyntax, "of its own"},
      {"CREATE TABLE e (ts timestamp) PARTITION BY RANGE (ts) INTERVAL '1 day'", Errc::kSyntax, "NOT NULL"},
      {"CREATE TABLE e (ts timestamp NOT NULL) PARTITION BY RANGE (ts)", Errc::kSyntax, "INTERVAL '1 day'"},
      {"CREATE TABLE e (ts int NOT NULL) PARTITION BY RANGE (ts) INTERVAL '1 day'", Errc::kDatatypeMismatch, "HASH"},
      {"CREATE TABLE e (ts date NOT NULL) PARTITION BY RANGE (ts) INTERVAL '1 hour'", Errc::kInvalidArgument, "date"},
  };
  for (const Refusal& each : cases) {
    const auto made = create(each.text);
    ASSERT_FALSE(made.ok()) << each.text;
    EXPECT_EQ(made.error().code, each.code) << each.text << ": " << made.error().message;
    EXPECT_NE(made.error().message.find(each.reason), std::string::npos) << made.error().message;
  }
}

TEST(PartitionedChange, KeepsWhatPartitionsRestOn) {
  const Table t{.name = "t", .scheme = Scheme{.column = "k", .partitions = 2}};
  const TableLookup find = [&t](std::string_view name) { return name == "t" ? &t : nullptr; };
  for (const char* fine :
       {"CREATE INDEX i ON t (a)", "CREATE UNIQUE INDEX i ON t (a, k)", "CREATE UNIQUE INDEX i ON o (a)",
        "ALTER TABLE t ADD COLUMN b int", "ALTER TABLE t RENAME COLUMN a TO b", "SELECT 1"})
    EXPECT_TRUE(check_change(fine, find).ok()) << fine;
  for (const char* wrong :
       {"CREATE UNIQUE INDEX i ON t (a)", "ALTER TABLE t DROP COLUMN k", "ALTER TABLE t ADD UNIQUE (a)",
        "ALTER TABLE t RENAME COLUMN k TO l", "ALTER TABLE t ALTER COLUMN k TYPE text",
        "ALTER TABLE t ADD COLUMN b serial", "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES o"})
    EXPECT_FALSE(check_change(wrong, find).ok()) << wrong;
}

}  // namespace
}  // namespace outlast::fragments
