// Results: batches, portals, limits, interrupts.
#include <gtest/gtest.h>

#include "executor/result_rows.h"
#include "executor/testing/fixture.h"

namespace outlast::executor {
namespace {
using namespace std::chrono_literals;
using testing::ExecutorTest;
using testing::Pending;

constexpr const char* kEndless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) SELECT count(*) FROM c";
constexpr const char* kMany =
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n<20000) "
    "SELECT n, printf('%0100d', n) FROM c, (SELECT 1 FROM t LIMIT 1)";

Parameters small_limits() {
  Parameters p;
  p.portals_max = 3;
  p.returning_bytes_max = 1 << 20;
  p.connections.connections = 8;
  p.connections.statements = 4;
  return p;
}

class PortalTest : public ExecutorTest {
 protected:
  PortalTest() : ExecutorTest(2, small_limits()) {}
  void SetUp() override {
    ASSERT_EQ(code(run("CREATE TABLE t(a INTEGER PRIMARY KEY, b BLOB)")), "");
    ASSERT_EQ(code(run("INSERT INTO t VALUES(1,'x'),(2,NULL),(3,4.5),(4,x'00ff'),(5,-7)")), "");
  }
  proto::ExecRequest limited(std::string text, std::uint64_t max_rows, bool begin = false) {
    proto::ExecRequest r = sql(std::move(text), begin);
    r.mutable_run()->set_max_rows(max_rows);
    return r;
  }
  using ExecutorTest::run;
};

TEST_F(PortalTest, CarriesEveryKindOfValue) {
  const proto::ExecReply reply = run("SELECT a, b, a+1 AS next FROM t ORDER BY a");
  const auto all = rows(reply);
  ASSERT_EQ(all.size(), 5U);
  EXPECT_EQ(all[0][1], Value(std::string("x")));
  EXPECT_EQ(all[1][1], Value(Null{}));
  EXPECT_EQ(all[2][1], Value(4.5));
  EXPECT_EQ(all[3][1], Value(Blob{std::string("\0\xff", 2)}));
  EXPECT_EQ(all[4][1], Value(std::int64_t{-7}));
  EXPECT_EQ(reply.columns(0).decl_type(), "INTEGER");
  EXPECT_EQ(reply.columns(0).table(), "t");
  EXPECT_EQ(reply.columns(2).name(), "next");
  EXPECT_EQ(reply.columns(2).decl_type(), "");
}

TEST_F(PortalTest, StopsAtMaxRowsAndGoesOnWhereItStopped) {
  const auto channel = open();
  proto::ExecReply reply = run(*channel, limited("SELECT a FROM t ORDER BY a", 2));
  EXPECT_TRUE(reply.suspended());
  EXPECT_EQ(rows(reply).size(), 2U);
  const std::uint64_t portal = reply.portal();
  reply = run(*channel, fetch(portal, 2));
  EXPECT_EQ(rows(reply, 1)[0][0], Value(std::int64_t{3}));
  EXPECT_TRUE(reply.suspended());
  reply = run(*channel, fetch(portal, 2));
  EXPECT_EQ(rows(reply, 1).size(), 1U);
  EXPECT_EQ(reply.portal(), 0U);
  EXPECT_FALSE(reply.suspended());
  EXPECT_EQ(code(run(*channel, fetch(portal))), "undefined_cursor");
}

TEST_F(PortalTest, SendsBigResultsInBatchesThatTheReaderAsksFor) {
  const auto channel = open();
  proto::ExecReply reply = run(*channel, sql(kMany));
  std::size_t total = rows(reply).size();
  int batches = 1;
  while (reply.portal() != 0) {
    EXPECT_FALSE(reply.suspended());
    EXPECT_LT(reply.rows().size(), 300U << 10) << "bounded, however slow the reader is";
    reply = run(*channel, fetch(reply.portal()));
    ASSERT_EQ(code(reply), "");
    total += rows(reply, 2).size();
    ++batches;
  }
  EXPECT_EQ(total, 20000U);
  EXPECT_GE(batches, 8);
}

TEST_F(PortalTest, KeepsOneSnapshotOverItsBatches) {
  const auto channel = open();
  proto::ExecReply reply = run(*channel, limited("SELECT a FROM t ORDER BY a", 1));
  EXPECT_EQ(code(run("DELETE FROM t")), "");
  EXPECT_EQ(rows(run(*channel, fetch(reply.portal())), 1).size(), 4U);
}

TEST_F(PortalTest, CarriesSixteenMebibytes) {
  const auto channel = open();
  const std::string big(16 << 20, 'z');
  proto::ExecRequest r = sql("INSERT INTO t VALUES(100,?1) RETURNING length(b)");
  r.mutable_run()->add_params()->add_values()->set_blob(big);
  ASSERT_EQ(code(run(*channel, r)), "");
  const proto::ExecReply reply = run(*channel, sql("SELECT b FROM t WHERE a=100"));
  const auto all = rows(reply);
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(std::get<Blob>(all[0][0]).bytes, big);
}

TEST_F(PortalTest, AWriteIsCompleteBeforeItsFirstRowLeaves) {
  const auto channel = open();
  proto::ExecReply reply = run(*channel, limited("UPDATE t SET b='q' RETURNING a", 2));
  EXPECT_TRUE(reply.suspended());
  EXPECT_EQ(reply.changes(), 5);
  EXPECT_EQ(number("SELECT count(*) FROM t WHERE b='q'"), 5);
  EXPECT_FALSE(range_->lock().held());
  reply = run(*channel, fetch(reply.portal()));
  EXPECT_EQ(rows(reply, 1).size(), 3U);
}

TEST_F(PortalTest, LimitsWhatReturningKeepsInMemory) {
  EXPECT_EQ(code(run("UPDATE t SET b='q' RETURNING zeroblob(1000000)")), "too_large");
  EXPECT_EQ(number("SELECT count(*) FROM t WHERE b='q'"), 0) << "rolled back";
  EXPECT_FALSE(range_->lock().held());
}

TEST_F(PortalTest, LimitsThePortalsOfAChannel) {
  const auto channel = open();
  proto::ExecReply last;
  for (int i = 0; i < 3; ++i) {
    last = run(*channel, limited("SELECT a FROM t", 1));
    ASSERT_EQ(code(last), "");
  }
  EXPECT_EQ(code(run(*channel, limited("SELECT a FROM t", 1))), "limit");
  proto::ExecRequest close = request();
  close.mutable_close_portal()->set_portal(last.portal());
  EXPECT_EQ(code(run(*channel, close)), "");
  EXPECT_EQ(code(run(*channel, limited("SELECT a FROM t", 1))), "");
}

TEST_F(PortalTest, LimitsConnectionsAndReusesIdleOnes) {
  std::vector<std::unique_ptr<Channel>> channels;
  for (int i = 0; i < 8; ++i) {
    channels.push_back(open());
    ASSERT_EQ(code(run(*channels.back(), sql("SELECT * FROM t", true))), "");
  }
  const auto late = open();
  const proto::ExecReply refused = run(*late, sql("SELECT 1"));
  EXPECT_EQ(code(refused), "too_many_connections");
  EXPECT_TRUE(refused.nothing_applied());
  EXPECT_EQ(code(run(*channels[0], rollback())), "");
  EXPECT_EQ(code(run(*late, sql("SELECT 1"))), "");
  EXPECT_EQ(range_->connections, 8);
  channels.clear();
  drain_sql_threads();
  clock_.advance(61s);
  executor_->sweep();
  drain_sql_threads();
  EXPECT_EQ(range_->connections, 0) << "an idle range costs nothing";
}

TEST_F(PortalTest, PortalsOfATransactionEndWithItAndWithTheirSavepoint) {
  const auto channel = open();
  const std::uint64_t outer = run(*channel, limited("SELECT a FROM t", 1, true)).portal();
  EXPECT_EQ(code(run(*channel, savepoint(proto::Savepoint::SET, "s"))), "");
  const std::uint64_t inner = run(*channel, limited("SELECT a FROM t", 1)).portal();
  EXPECT_EQ(code(run(*channel, fetch(inner, 1))), "");
  EXPECT_EQ(code(run(*channel, savepoint(proto::Savepoint::ROLLBACK_TO, "s"))), "");
  EXPECT_EQ(code(run(*channel, fetch(outer, 1))), "");
  EXPECT_EQ(code(run(*channel, fetch(inner, 1))), "undefined_cursor");
  EXPECT_EQ(code(run(*channel, savepoint(proto::Savepoint::ROLLBACK_TO, "s"))), "");
  EXPECT_EQ(code(run(*channel, commit())), "");
  EXPECT_EQ(code(run(*channel, fetch(outer, 1))), "undefined_cursor");
}

TEST_F(PortalTest, AnInterruptEndsARunningQueryAndOnlyThat) {
  const auto channel = open();
  const Pending pending = start(*channel, sql(kEndless));
  while (executor_->counters().reads.load() == 0) drain_sql_threads_once();
  channel->interrupt();
  EXPECT_EQ(code(finish(pending)), "cancelled");
  channel->interrupt();  // nothing runs: nothing happens
  EXPECT_EQ(code(run(*channel, sql("SELECT count(*) FROM t"))), "");
}

TEST_F(PortalTest, ARangeIsBusyWhileAStatementRunsOrHasRowsToFetch) {
  const std::set<RangeId> none, this_one{range_->id()};
  const Instant before = clock_.now();
  const auto runs = open(), fetches = open();
  const Pending pending = start(*runs, sql(kEndless));
  EXPECT_EQ(executor_->busy_ranges(before), none) << "it began at this instant, not before";
  clock_.advance(1s);
  EXPECT_EQ(executor_->busy_ranges(clock_.now()), this_one);
  runs->interrupt();
  EXPECT_EQ(code(finish(pending)), "cancelled");
  EXPECT_EQ(executor_->busy_ranges(clock_.now()), none);
  const std::uint64_t portal = run(*fetches, limited("SELECT a FROM t", 1)).portal();
  clock_.advance(1s);
  EXPECT_EQ(executor_->busy_ranges(clock_.now()), this_one);
  EXPECT_EQ(code(run(*fetches, fetch(portal, 0))), "");
  EXPECT_EQ(executor_->busy_ranges(clock_.now()), none);
}

TEST_F(PortalTest, TheDeadlineEndsARunningQuery) {
  const auto channel = open();
  proto::ExecRequest r = sql(kEndless);
  r.set_timeout_ms(100);
  const Pending pending = start(*channel, r);
  clock_.advance(101ms);
  const proto::ExecReply reply = finish(pending);
  EXPECT_EQ(code(reply), "deadline");
  EXPECT_TRUE(reply.nothing_applied());
}

TEST_F(PortalTest, TheDeadlineEndsAWaitForDurability) {
  range_->auto_durable = false;
  const auto writer = open();
  const auto reader = open();
  proto::ExecRequest write = sql("INSERT INTO t VALUES(50,'y')");
  write.set_timeout_ms(100);
  const Pending written = start(*writer, write);
  ASSERT_TRUE(range_->wait_gated(1));
  proto::ExecRequest read = sql("SELECT * FROM t");
  read.set_timeout_ms(100);
  const Pending asked = start(*reader, read);
  ASSERT_TRUE(range_->wait_gated(2));
  clock_.advance(101ms);
  executor_->sweep();
  EXPECT_EQ(code(finish(written)), "unknown_outcome") << "it has an LSN: neither success nor failure";
  EXPECT_EQ(code(finish(asked)), "deadline");
  EXPECT_EQ((*asked)->rows(), "");
  range_->make_all_durable();  // the late callbacks find nobody
  EXPECT_EQ(code(run(*reader, sql("SELECT 1"))), "");
}

TEST_F(PortalTest, AnInterruptEndsAWaitForDurability) {
  range_->auto_durable = false;
  const auto writer = open();
  const Pending written = start(*writer, sql("INSERT INTO t VALUES(50,'y')"));
  ASSERT_TRUE(range_->wait_gated(1));
  const auto reader = open();
  const Pending asked = start(*reader, limited("SELECT a FROM t", 1));
  ASSERT_TRUE(range_->wait_gated(2));
  reader->interrupt();
  EXPECT_EQ(code(finish(asked)), "cancelled");
  EXPECT_EQ(executor_->stats().portals, 0U) << "the portal that it opened is closed";
  writer->interrupt();
  EXPECT_EQ(code(finish(written)), "unknown_outcome");
}

TEST_F(PortalTest, AnOldSnapshotIsEndedWhenTheWalGrows) {
  const auto channel = open();
  const std::uint64_t portal = run(*channel, limited("SELECT a FROM t", 1)).portal();
  const auto transaction = open();
  EXPECT_EQ(code(run(*transaction, sql("SELECT * FROM t", true))), "");
  clock_.advance(6s);
  executor_->sweep();
  EXPECT_EQ(code(run(*channel, fetch(portal, 1))), "") << "as long as it hurts nobody";
  range_->wal = 100 << 20;
  executor_->sweep();
  drain_sql_threads();
  EXPECT_EQ(code(run(*channel, fetch(portal, 1))), "serialization_failure");
  EXPECT_EQ(code(run(*transaction, sql("SELECT 1"))), "serialization_failure");
  EXPECT_EQ(code(run(*transaction, rollback())), "");
}

TEST_F(PortalTest, ReadsHaveTheDrainsTimeAfterTheLeaseLeft) {
  const auto channel = open();
  const std::uint64_t portal = run(*channel, limited("SELECT a FROM t", 1)).portal();
  executor_->let_reads_finish(true);
  range_->end_leadership();
  executor_->sweep();
  clock_.advance(60s);
  executor_->sweep();
  EXPECT_EQ(code(run(*channel, fetch(portal, 1))), "");
  executor_->let_reads_finish(false);
  executor_->sweep();
  drain_sql_threads();
  EXPECT_EQ(code(run(*channel, fetch(portal, 1))), "serialization_failure");
}

TEST_F(PortalTest, ARunningQueryWithAnOldSnapshotIsEndedToo) {
  const auto channel = open();
  const Pending pending = start(*channel, sql(std::string(kEndless) + ", t"));
  while (executor_->counters().reads.load() == 0) drain_sql_threads_once();
  clock_.advance(6s);
  range_->wal = 100 << 20;
  executor_->sweep();
  EXPECT_EQ(code(finish(pending)), "serialization_failure");
}

TEST_F(PortalTest, RefusesWrongParametersAndSeveralCommands) {
  const auto channel = open();
  EXPECT_EQ(code(run(*channel, sql("SELECT ?1"))), "protocol_violation");
  EXPECT_EQ(code(run(*channel, sql("SELECT 1; DELETE FROM t"))), "syntax");
  EXPECT_EQ(number("SELECT count(*) FROM t"), 5);
  EXPECT_EQ(code(run(*channel, sql("SELECT 1 ; -- done\n"))), "");
  EXPECT_EQ(code(run(*channel, sql("-- nothing"))), "");
  EXPECT_EQ(code(run(*channel, request())), "protocol_violation");
  proto::ExecRequest two = sql("SELECT 1");
  two.mutable_run()->add_params();
  two.mutable_run()->add_params();
  EXPECT_EQ(code(run(*channel, two)), "protocol_violation");
}

TEST_F(PortalTest, TheStatementCacheForgetsTheOldest) {
  const auto channel = open();
  for (int round = 0; round < 3; ++round)
    for (int i = 0; i < 12; ++i)
      ASSERT_EQ(rows(run(*channel, sql("SELECT " + std::to_string(i))))[0][0], Value(std::int64_t{i}));
}

TEST(StoredRows, CutsBatchesAtRows) {
  StoredRows stored;
  for (int i = 0; i < 10; ++i) stored.add("abc");
  EXPECT_EQ(stored.take({.bytes = 7, .rows = 0}).bytes.size(), 9U) << "whole rows";
  const Batch two = stored.take({.bytes = 100, .rows = 2});
  EXPECT_EQ(two.bytes, "abcabc");
  EXPECT_EQ(two.end, BatchEnd::kRows);
  const Batch rest = stored.take({});
  EXPECT_EQ(rest.bytes.size(), 15U);
  EXPECT_EQ(rest.end, BatchEnd::kDone);
  EXPECT_TRUE(stored.take({}).bytes.empty());
}

}  // namespace
}  // namespace outlast::executor
