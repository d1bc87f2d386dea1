// What statements see of a range that takes no writes at present, and of one that falls back (protocol A5.4).
#include <gtest/gtest.h>

#include "executor/testing/fixture.h"

namespace outlast::executor {
namespace {
using testing::ExecutorTest;
using testing::Pending;

class StallTest : public ExecutorTest {
 protected:
  void SetUp() override {
    ASSERT_EQ(code(run("CREATE TABLE t(a INTEGER PRIMARY KEY)")), "");
    ASSERT_EQ(code(run("INSERT INTO t VALUES(1)")), "");
  }
  void refuse() { range_->refuse_writes(Error(Errc::kRangeUnavailable, "no replicas")); }
  using ExecutorTest::run;
};

TEST_F(StallTest, AWriteIsRefusedBeforeItBeginsAndReadsGoOn) {
  refuse();
  const auto reply = run("INSERT INTO t VALUES(2)");
  EXPECT_EQ(code(reply), "range_unavailable");
  EXPECT_TRUE(reply.nothing_applied());
  EXPECT_FALSE(range_->lock().held());
  EXPECT_EQ(number("SELECT count(*) FROM t"), 1);
  range_->refuse_writes(std::nullopt);
  EXPECT_EQ(code(run("INSERT INTO t VALUES(2)")), "");
}

TEST_F(StallTest, AWriteThatWaitedForTheLockIsRefusedWhenItGetsIt) {
  const auto holder = open(), waiter = open();
  ASSERT_EQ(code(run(*holder, sql("INSERT INTO t VALUES(2)", true))), "");
  const Pending pending = start(*waiter, sql("INSERT INTO t VALUES(3)"));
  ASSERT_TRUE(range_->lock().wait_waiters(1));
  range_->refuse_writes(Error(Errc::kDiskFull, "no room"));
  run(*holder, rollback());
  EXPECT_EQ(code(finish(pending)), "disk_full");
  EXPECT_TRUE(range_->lock().wait_free());
  EXPECT_EQ(number("SELECT count(*) FROM t"), 1);
}

TEST_F(StallTest, ATransactionThatHoldsTheLockMayOnlyRollBack) {
  const auto channel = open();
  ASSERT_EQ(code(run(*channel, sql("INSERT INTO t VALUES(2)", true))), "");
  refuse();
  EXPECT_EQ(code(run(*channel, sql("INSERT INTO t VALUES(3)"))), "range_unavailable");
  EXPECT_EQ(code(run(*channel, rollback())), "");
  EXPECT_EQ(number("SELECT count(*) FROM t"), 1);
}

TEST_F(StallTest, ACommitThatTheLogRefusesIsNotGatedByWhatIsNotDurable) {
  const auto channel = open();
  ASSERT_EQ(code(run(*channel, sql("INSERT INTO t VALUES(2)", true))), "");
  range_->auto_durable = false;
  range_->refuse_commits(Error(Errc::kRangeUnavailable, "no replicas"));
  EXPECT_EQ(code(run(*channel, commit())), "range_unavailable");
  EXPECT_EQ(number("SELECT count(*) FROM t"), 1);
}

TEST_F(StallTest, AWaitingReaderIsSentElsewhereUnseenWhileAWriterWaitsOn) {
  range_->auto_durable = false;
  const auto writer = open(), reader = open();
  const Pending written = start(*writer, sql("INSERT INTO t VALUES(2)"));
  ASSERT_TRUE(range_->wait_gated(1));
  const Pending read = start(*reader, sql("SELECT * FROM t"));
  ASSERT_TRUE(range_->wait_gated(2));
  range_->fail_waiters(Error(Errc::kMoving, "elsewhere"), Error(Errc::kTransactionLost, "cut"));
  const auto reply = finish(read);
  EXPECT_EQ(code(reply), "moving");
  EXPECT_TRUE(reply.nothing_applied());
  EXPECT_FALSE(reply.in_transaction());
  const auto cut = finish(written);
  EXPECT_EQ(code(cut), "transaction_lost") << "its entry is in no log: it is known not to be applied";
  EXPECT_TRUE(cut.nothing_applied());
}

TEST_F(StallTest, AReadInsideATransactionThatSawTooMuchIs40001) {
  const auto channel = open(), writer = open();
  ASSERT_EQ(code(run(*channel, sql("", true))), "");
  range_->auto_durable = false;
  start(*writer, sql("INSERT INTO t VALUES(2)"));
  ASSERT_TRUE(range_->wait_gated(1));
  const Pending read = start(*channel, sql("SELECT * FROM t"));
  ASSERT_TRUE(range_->wait_gated(2));
  range_->fail_waiters(Error(Errc::kMoving, "elsewhere"), Error(Errc::kRangeUnavailable, "over"));
  EXPECT_EQ(code(finish(read)), "transaction_lost");
}

TEST_F(StallTest, AReadTransactionEndsAtOnceWhenTheDatabaseMustClose) {
  const auto channel = open();
  ASSERT_EQ(code(run(*channel, sql("SELECT * FROM t", true))), "");
  range_->end_leadership();
  range_->at_once = true;
  executor_->sweep();
  drain_sql_threads();
  EXPECT_EQ(executor_->stats().transactions, 0U);
  EXPECT_EQ(code(run(*channel, sql("SELECT * FROM t"))), "transaction_lost");
}

}  // namespace
}  // namespace outlast::executor
