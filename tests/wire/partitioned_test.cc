// Queries and writes over partitioned tables, as a client sees them.
#include <gtest/gtest.h>

#include <string>

#include "tests/wire/talk.h"
#include "tests/wire/test_server.h"
#include "tests/wire/wire_client.h"

namespace outlast::testing {
namespace {
bool has(const std::string& answer, const std::string& part) {
  return answer.find(part) != std::string::npos;
}

class Partitioned : public ::testing::Test {
 protected:
  void SetUp() override {
    EXPECT_TRUE(client_.connect("127.0.0.1", server_.port()).ok());
    EXPECT_TRUE(client_.start("ann", "defaultdb").ok());
    expect("CREATE TABLE t (k bigint, a int, s char(4)) PARTITION BY HASH (k) PARTITIONS 4", "CREATE TABLE");
    for (int k = 0; k < 20; ++k)
      expect("INSERT INTO t VALUES (" + std::to_string(k) + ", " + std::to_string(k % 3) + ", 'x')", "INSERT 0 1");
    expect("CREATE TABLE p (a int, name text)", "CREATE TABLE");
    expect("INSERT INTO p VALUES (0, 'zero'), (1, 'one')", "INSERT 0 2");
  }
  void expect(const std::string& sql, const std::string& part) {
    const std::string answer = ask(client_, sql);
    EXPECT_TRUE(has(answer, part)) << sql << "\n" << answer;
  }
  TestServer server_;
  WireClient client_;
};

TEST_F(Partitioned, QueriesReadAllPartitions) {
  expect("SELECT count(*), sum(a), min(k), max(k) FROM t",
         "RowDescription count:20:0 sum:20:0 min:20:0 max:20:0\nDataRow \"20\" \"19\" \"0\" \"19\"\n");
  expect("SELECT k, a, s FROM t ORDER BY k DESC LIMIT 2",
         "RowDescription k:20:0 a:23:0 s:1042:0\nDataRow \"19\" \"1\" \"x   \"\nDataRow \"18\" \"0\" \"x   \"\n"
         "CommandComplete \"SELECT 2\"\n");
  expect("SELECT * FROM t WHERE k = 7", "DataRow \"7\" \"1\" \"x   \"\nCommandComplete \"SELECT 1\"");
  expect("SELECT name, count(*) FROM t JOIN p USING (a) GROUP BY name ORDER BY name",
         "DataRow \"one\" \"7\"\nDataRow \"zero\" \"7\"\nCommandComplete \"SELECT 2\"");
  expect("SELECT 't'", "DataRow \"t\"");
  expect("SELECT count(*) FROM T", "DataRow \"20\"");
  expect("SELECT nosuch FROM t", "ErrorResponse ERROR 42703");
  expect("SELECT * FROM t, nosuch", "ErrorResponse ERROR 42P01");
}

TEST_F(Partitioned, PreparedStatementsPlanWithTheirParameters) {
  expect("PREPARE one(bigint) AS SELECT a FROM t WHERE k = $1", "PREPARE");
  expect("EXECUTE one(8)", "DataRow \"2\"");
  expect("PREPARE many(int) AS SELECT count(*) FROM t WHERE a < $1", "PREPARE");
  expect("EXECUTE many(2)", "DataRow \"14\"");
  expect("EXECUTE many(0)", "DataRow \"0\"");
}

TEST_F(Partitioned, PortalsGiveRowsInPieces) {
  for (const char* message :
       {"Parse \"\" \"SELECT k FROM t ORDER BY k\"", "Bind \"\" \"\"", "Execute \"\" 3", "Execute \"\" 0", "Sync"})
    ASSERT_TRUE(client_.send(bytes_of(message)).ok());
  const std::string answer = until(client_, "ReadyForQuery");
  // A row limit without Sync behind it opens a transaction, and that has one range.
  EXPECT_TRUE(has(answer, "ErrorResponse ERROR 25001")) << answer;
  for (const char* message : {"Parse \"\" \"SELECT k FROM t ORDER BY k\"", "Bind \"\" \"\"", "Execute \"\" 3", "Sync"})
    ASSERT_TRUE(client_.send(bytes_of(message)).ok());
  EXPECT_TRUE(has(until(client_, "ReadyForQuery"), "DataRow \"2\"\nPortalSuspended\n"));
}

TEST_F(Partitioned, CopyToReadsAllPartitions) {
  EXPECT_TRUE(has(ask(client_, "COPY (SELECT k FROM t WHERE k < 3 ORDER BY k) TO STDOUT"), "COPY 3"));
  EXPECT_TRUE(has(ask(client_, "COPY t TO STDOUT"), "COPY 20"));
}

TEST_F(Partitioned, ATransactionLivesInOneRange) {
  expect("BEGIN", "BEGIN");
  expect("SELECT a FROM t WHERE k = 1", "DataRow \"1\"");
  expect("UPDATE t SET a = 50 WHERE k = 1", "UPDATE 1");
  expect("SELECT count(*) FROM t", "ErrorResponse ERROR 25001");
  expect("ROLLBACK", "ROLLBACK");
  expect("SELECT a FROM t WHERE k = 1", "DataRow \"1\"");
  expect("BEGIN", "BEGIN");
  expect("SELECT name FROM p", "SELECT 2");
  expect("INSERT INTO t VALUES (1, 1, 'y')", "ErrorResponse ERROR 25001");
  expect("ROLLBACK", "ROLLBACK");
}

TEST_F(Partitioned, WritesOfOnePartitionAreOrdinary) {
  expect("UPDATE t SET a = a + 10 WHERE k = 5 RETURNING a", "DataRow \"12\"");
  expect("DELETE FROM t WHERE k = 6", "DELETE 1");
  expect("INSERT INTO t (k, a) VALUES (6, 1), (6, 2)", "INSERT 0 2");
  expect("INSERT INTO t (k, a) VALUES (3 + 3, 3) RETURNING a", "DataRow \"3\"");
  expect("INSERT INTO t (k, a) SELECT 6, a FROM p", "INSERT 0 2");
  expect("SELECT count(*) FROM t WHERE k = 6", "DataRow \"5\"");
  expect("DELETE FROM t WHERE k IN (1, 2, 3, 4, 5)", "ErrorResponse ERROR 42601");
  expect("UPDATE t SET k = 9 WHERE k = 1", "ErrorResponse ERROR 42601");
  expect("SELECT count(*) FROM t", "DataRow \"24\"");
}

TEST_F(Partitioned, AnInsertForSeveralPartitionsIsAllOrNothing) {
  expect("INSERT INTO t (k, a) VALUES (100, 7), (101, 7), (102, 7), (103, 8)", "INSERT 0 4");
  expect("SELECT count(*) FROM t WHERE a >= 7", "DataRow \"4\"");
  expect("INSERT INTO t SELECT k + 1000, a, s FROM t WHERE a >= 7", "INSERT 0 4");
  expect("SELECT count(*) FROM t WHERE a >= 7", "DataRow \"8\"");
  expect("INSERT INTO t (k, a) VALUES (104, 1), (105, 'x'), (106, 1), (107, 1)", "ErrorResponse ERROR");
  expect("INSERT INTO t (k, a) VALUES (104, 1), (105, 1), (106, 1), (107, 1) RETURNING k", "ErrorResponse ERROR 42601");
  expect("BEGIN", "BEGIN");
  expect("INSERT INTO t (k, a) VALUES (104, 1), (105, 1), (106, 1), (107, 1)", "ErrorResponse ERROR 25001");
  expect("ROLLBACK", "ROLLBACK");
  expect("SELECT count(*) FROM t", "DataRow \"28\"");
}

TEST_F(Partitioned, ARangePartitionBeginsWithItsFirstRow) {
  expect("CREATE TABLE e (ts timestamp NOT NULL, v int) PARTITION BY RANGE (ts) INTERVAL '1 day'", "CREATE TABLE");
  expect("SELECT count(*) FROM e", "DataRow \"0\"");
  expect("INSERT INTO e VALUES ('2024-01-05 10:00:00', 1)", "INSERT 0 1");
  expect("INSERT INTO e VALUES ('2024-01-06 10:00:00', 2)", "INSERT 0 1");
  expect("SELECT v FROM e ORDER BY ts", "DataRow \"1\"\nDataRow \"2\"\n");
  expect("SELECT v FROM e WHERE ts >= '2024-01-06 00:00:00'", "DataRow \"2\"\nCommandComplete \"SELECT 1\"");
}

TEST_F(Partitioned, ExplainShowsFragmentsAndPlaces) {
  const std::string plan = ask(client_, "EXPLAIN SELECT a, count(*) FROM t GROUP BY a");
  EXPECT_TRUE(has(plan, "RowDescription QUERY PLAN:25:0")) << plan;
  EXPECT_TRUE(has(plan, "node 1") && has(plan, "partial aggregates")) << plan;
  expect("EXPLAIN SELECT a FROM t WHERE k = 1", "node 1");
  expect("EXPLAIN DELETE FROM t WHERE k = 1", "node 1");
  expect("EXPLAIN SELECT 1", "One range");
}

TEST_F(Partitioned, CancelEndsTheFinalStatement) {
  ASSERT_TRUE(eventually([&] { return server_.server().load().idle == 1; })) << "the answer before is out";
  ASSERT_TRUE(
      client_
          .send(bytes_of("Query \"SELECT count(*) FROM t a, t b, t c, t d, t e, t f, t g WHERE a.s || b.s || c.s "
                         "|| d.s || e.s || f.s || g.s = 'no'\""))
          .ok());
  ASSERT_TRUE(eventually([&] { return server_.server().load().busy == 1; }));
  // Once: it counts while the statement is planned, too, and another one might come upon the next statement.
  WireClient other;
  ASSERT_TRUE(other.connect("127.0.0.1", server_.port()).ok());
  ASSERT_TRUE(other.send(cancel_request(client_.pid, client_.key)).ok());
  const std::string answer = until(client_, "ReadyForQuery");
  EXPECT_TRUE(has(answer, "ErrorResponse ERROR 57014")) << answer;
  expect("SELECT count(*) FROM t", "DataRow \"20\"");
}

}  // namespace
}  // namespace outlast::testing
