// Partitioned tables as a whole: made, changed and dropped in several ranges, also when something stops in the middle.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <future>

#include "tests/wire/talk.h"
#include "tests/wire/test_server.h"
#include "tests/wire/wire_client.h"

namespace outlast::testing {
namespace {
namespace asio = boost::asio;

class PartitionedDdl : public ::testing::Test {
 protected:
  PartitionedDdl() {
    EXPECT_TRUE(client_.connect("127.0.0.1", server_.port()).ok());
    EXPECT_TRUE(client_.start("ann", "defaultdb").ok());
  }
  std::string ask(const std::string& sql) { return testing::ask(client_, sql); }
  /// "" for success, else the SQLSTATE.
  std::string state(const std::string& sql) {
    const std::string answer = ask(sql);
    const auto at = answer.find("ErrorResponse ERROR ");
    return at == answer.npos ? "" : answer.substr(at + 20, 5);
  }
  template <class T>
  Result<T> wait(asio::awaitable<Result<T>> what) {
    auto boxed = [](asio::awaitable<Result<T>> inner) -> asio::awaitable<std::shared_ptr<Result<T>>> {
      co_return std::make_shared<Result<T>>(co_await std::move(inner));
    };
    return *asio::co_spawn(server_.executors().front(), boxed(std::move(what)), asio::use_future).get();
  }
  /// Straight into a range's file: the first value, "" for none, or the error.
  std::string in_file(const std::string& path, const std::string& sql) {
    sqlite3* db = nullptr;
    if (sqlite3_open_v2(path.c_str(), &db, SQLITE_OPEN_READWRITE, nullptr) != SQLITE_OK) return "no such file";
    std::string out;
    char* error = nullptr;
    sqlite3_exec(
        db, sql.c_str(),
        [](void* to, int, char** values, char**) {
          *static_cast<std::string*>(to) = values[0] == nullptr ? "null" : values[0];
          return 0;
        },
        &out, &error);
    if (error != nullptr) out = error;
    sqlite3_free(error);
    sqlite3_close(db);
    return out;
  }
  meta::PartitionedRecord record(const std::string& table) {
    auto found = server_.cluster.partitions().record("defaultdb", table);
    return found.ok() ? *found : meta::PartitionedRecord{};
  }
  std::string home(const std::string& sql) { return in_file(server_.cluster.path_of("defaultdb"), sql); }
  std::string part(const std::string& table, std::size_t i, const std::string& sql) {
    return in_file(server_.cluster.path_of(record(table).partitions.at(i).range), sql);
  }
  /// In how many of home and partitions this gives "1".
  std::size_t places(const std::string& table, const std::string& sql) {
    std::size_t n = home(sql) == "1" ? 1 : 0;
    for (std::size_t i = 0; i < record(table).partitions.size(); ++i) n += part(table, i, sql) == "1" ? 1 : 0;
    return n;
  }
  static std::string has(const std::string& name) {
    return "SELECT count(*) FROM sqlite_schema WHERE name = '" + name + "'";
  }
  static std::string has_column(const std::string& table, const std::string& column) {
    return "SELECT count(*) FROM pragma_table_info('" + table + "') WHERE name = '" + column + "'";
  }

  TestServer server_;
  WireClient client_;
};

TEST_F(PartitionedDdl, ATableLiesInItsHomeAndInEveryPartition) {
  EXPECT_EQ(ask("CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY HASH (id) PARTITIONS 3"),
            "CommandComplete \"CREATE TABLE\"\nReadyForQuery I\n");
  EXPECT_EQ(places("t", has("t")), 4U);
  const auto tables = server_.cluster.partitioned("defaultdb");
  ASSERT_TRUE(tables && tables->contains("t"));
  EXPECT_EQ(tables->at("t").partitions.size(), 3U);
  EXPECT_EQ(server_.cluster.partitioned("defaultdb"), tables) << "the same object until something changes";
  EXPECT_NE(home("INSERT INTO t VALUES (1, 'x')").find("run the statement again"), std::string::npos)
      << "who has not heard of the partitions gets no row in";
  EXPECT_EQ(part("t", 0, "INSERT INTO t VALUES (1, 'x')"), "");
}

TEST_F(PartitionedDdl, WhatPartitionsCannotKeepIsRefusedAndLeavesNothing) {
  EXPECT_EQ(state("CREATE TABLE t (id int PRIMARY KEY, v int) PARTITION BY HASH (v) PARTITIONS 3"), "42601");
  EXPECT_EQ(state("BEGIN"), "");
  EXPECT_EQ(state("CREATE TABLE t (id int) PARTITION BY HASH (id) PARTITIONS 3"), "25001");
  EXPECT_EQ(state("ROLLBACK"), "");
  EXPECT_EQ(state("CREATE TABLE plain (id int)"), "");
  EXPECT_EQ(state("CREATE TABLE plain (id int) PARTITION BY HASH (id) PARTITIONS 3"), "42P07");
  EXPECT_EQ(server_.cluster.partitioned("defaultdb"), nullptr);
  EXPECT_FALSE(server_.cluster.partitions().record("defaultdb", "plain").ok());
  EXPECT_EQ(home(has("plain")), "1");
  EXPECT_EQ(state("CREATE TABLE t (id int) PARTITION BY HASH (id) PARTITIONS 2"), "");
  EXPECT_EQ(state("CREATE TABLE t (id int) PARTITION BY HASH (id) PARTITIONS 2"), "42P07");
  EXPECT_EQ(state("CREATE TABLE t (id int)"), "42P07");
  EXPECT_NE(ask("CREATE TABLE IF NOT EXISTS t (id int) PARTITION BY HASH (id) PARTITIONS 2").find("NoticeResponse"),
            std::string::npos);
  EXPECT_EQ(state("CREATE VIEW w AS SELECT id FROM t"), "42601");
  EXPECT_EQ(state("ALTER TABLE t RENAME TO u"), "42601");
  EXPECT_EQ(state("DROP TABLE t, plain"), "42601");
  EXPECT_EQ(state("TRUNCATE t, plain"), "42601");
  EXPECT_EQ(state("TRUNCATE t RESTART IDENTITY"), "42601");
  EXPECT_EQ(state("BEGIN"), "");
  EXPECT_EQ(state("ALTER TABLE t ADD COLUMN v int"), "25001");
  EXPECT_EQ(state("ROLLBACK"), "");
  EXPECT_EQ(places("t", has_column("t", "v")), 0U);
}

TEST_F(PartitionedDdl, AChangeIsEverywhere) {
  ASSERT_EQ(state("CREATE TABLE t (id int PRIMARY KEY, v text) PARTITION BY HASH (id) PARTITIONS 3"), "");
  EXPECT_EQ(part("t", 1, "INSERT INTO t VALUES (1, 'x'), (2, 'y')"), "");
  EXPECT_EQ(state("ALTER TABLE t ADD COLUMN w int DEFAULT 7"), "");
  EXPECT_EQ(places("t", has_column("t", "w")), 4U);
  EXPECT_EQ(part("t", 1, "SELECT sum(w) FROM t"), "14");
  EXPECT_EQ(state("CREATE INDEX t_v ON t (v)"), "");
  EXPECT_EQ(places("t", has("t_v")), 4U);
  EXPECT_EQ(state("DROP INDEX t_v"), "");
  EXPECT_EQ(places("t", has("t_v")), 0U);
  EXPECT_EQ(state("TRUNCATE t"), "");
  EXPECT_EQ(part("t", 1, "SELECT count(*) FROM t"), "0");
  EXPECT_EQ(record("t").applied, 4U);
  EXPECT_FALSE(record("t").pending);
}

TEST_F(PartitionedDdl, AChangeThatTheRowsOfOnePartitionRefuseIsNowhere) {
  ASSERT_EQ(state("CREATE TABLE t (id int, v text) PARTITION BY HASH (id) PARTITIONS 3"), "");
  EXPECT_EQ(part("t", 2, "INSERT INTO t VALUES (1, 'x'), (1, 'x')"), "");
  EXPECT_EQ(state("CREATE UNIQUE INDEX t_u ON t (id, v)"), "23505");
  EXPECT_EQ(places("t", has("t_u")), 0U);
  EXPECT_FALSE(record("t").pending);
  EXPECT_EQ(part("t", 2, "DELETE FROM t"), "");
  EXPECT_EQ(state("CREATE UNIQUE INDEX t_u ON t (id, v)"), "");
  EXPECT_EQ(places("t", has("t_u")), 4U);
}

TEST_F(PartitionedDdl, ADroppedTableIsGoneEverywhereAndItsNameFree) {
  ASSERT_EQ(state("CREATE TABLE t (id int) PARTITION BY HASH (id) PARTITIONS 3"), "");
  const auto old = record("t");
  ASSERT_EQ(state("DROP TABLE t"), "");
  EXPECT_EQ(server_.cluster.partitioned("defaultdb"), nullptr);
  for (const auto& each : old.partitions) EXPECT_EQ(server_.cluster.path_of(each.range), "");
  EXPECT_EQ(home(has("t")), "0");
  EXPECT_EQ(state("DROP TABLE t"), "42P01");
  EXPECT_EQ(state("CREATE TABLE t (id int)"), "");
}

TEST_F(PartitionedDdl, APartitionOfATimeIsMadeOnceAndLikeItsHome) {
  ASSERT_EQ(state("CREATE TABLE t (at timestamptz NOT NULL, v text) PARTITION BY RANGE (at) INTERVAL '1 day'"), "");
  EXPECT_TRUE(record("t").partitions.empty());
  ASSERT_EQ(state("ALTER TABLE t ADD COLUMN w int"), "");
  ASSERT_EQ(state("CREATE INDEX t_w ON t (w)"), "");
  const auto first = wait(server_.cluster.add_partition("defaultdb", "t", 9000));
  ASSERT_TRUE(first.ok()) << first.error().message;
  EXPECT_EQ(wait(server_.cluster.add_partition("defaultdb", "t", 9000))->range, first->range);
  EXPECT_EQ(places("t", has_column("t", "w")), 2U);
  EXPECT_EQ(places("t", has("t_w")), 2U);
  EXPECT_EQ(part("t", 0, "INSERT INTO t VALUES ('2024-08-23 00:00:00', 'x', 1)"), "") << "only its home refuses rows";
  ASSERT_EQ(state("ALTER TABLE t DROP COLUMN v"), "");
  EXPECT_EQ(places("t", has_column("t", "v")), 0U);
  EXPECT_EQ(part("t", 0, "SELECT count(*) FROM t"), "1");
  ASSERT_TRUE(wait(server_.cluster.add_partition("defaultdb", "t", 9001)).ok());
  EXPECT_EQ(places("t", has_column("t", "w")), 3U);
}

TEST_F(PartitionedDdl, ACreationThatStopsInTheMiddleIsRemoved) {
  server_.cluster.partitions().fail_changes(0, 2);  // "ready", and then "dropping"
  EXPECT_NE(state("CREATE TABLE t (id int) PARTITION BY HASH (id) PARTITIONS 2"), "");
  EXPECT_EQ(record("t").state, meta::PartitionedState::kCreating);
  EXPECT_EQ(server_.cluster.partitioned("defaultdb"), nullptr);
  EXPECT_EQ(state("CREATE TABLE t (id int) PARTITION BY HASH (id) PARTITIONS 2"), "42P07");
  ASSERT_TRUE(wait(server_.cluster.partitioning().finish("defaultdb", record("t"))).ok());
  EXPECT_EQ(home(has("t")), "0");
  EXPECT_EQ(state("CREATE TABLE t (id int) PARTITION BY HASH (id) PARTITIONS 2"), "");
  EXPECT_EQ(places("t", has("t")), 3U);
}

TEST_F(PartitionedDdl, AChangeThatStopsInTheMiddleIsFinishedOrNever) {
  ASSERT_EQ(state("CREATE TABLE t (id int) PARTITION BY HASH (id) PARTITIONS 2"), "");
  server_.cluster.partitions().fail_changes(1, 2);  // begun, and neither decided nor cancelled
  EXPECT_NE(state("ALTER TABLE t ADD COLUMN v int"), "");
  ASSERT_TRUE(record("t").pending && !record("t").pending->decided);
  EXPECT_EQ(places("t", has_column("t", "v")), 0U);
  EXPECT_EQ(state("ALTER TABLE t ADD COLUMN w int"), "55006");
  ASSERT_TRUE(wait(server_.cluster.partitioning().finish("defaultdb", record("t"))).ok());
  EXPECT_EQ(places("t", has_column("t", "v")), 0U);

  server_.cluster.partitions().fail_changes(2, 1);  // decided, and not noted as finished
  EXPECT_EQ(state("ALTER TABLE t ADD COLUMN v int DEFAULT 1"), "40003");
  ASSERT_TRUE(record("t").pending && record("t").pending->decided);
  ASSERT_TRUE(wait(server_.cluster.partitioning().finish("defaultdb", record("t"))).ok());
  EXPECT_FALSE(record("t").pending);
  EXPECT_EQ(places("t", has_column("t", "v")), 3U);
  EXPECT_EQ(state("TRUNCATE t"), "");
}

TEST_F(PartitionedDdl, WhatIsDecidedIsAppliedOnceInEachRange) {
  ASSERT_EQ(state("CREATE TABLE t (id int, v int) PARTITION BY HASH (id) PARTITIONS 2"), "");
  server_.cluster.partitions().fail_changes(2, 1);
  EXPECT_EQ(state("TRUNCATE t"), "40003");
  EXPECT_EQ(part("t", 0, "INSERT INTO t VALUES (1, 1)"), "") << "after the TRUNCATE has reached it";
  ASSERT_TRUE(wait(server_.cluster.partitioning().finish("defaultdb", record("t"))).ok());
  EXPECT_EQ(part("t", 0, "SELECT count(*) FROM t"), "1");
}

}  // namespace
}  // namespace outlast::testing
