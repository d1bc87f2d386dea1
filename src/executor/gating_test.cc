// No reply leaves before what it depends on is durable (protocol A5.3), and what a lost leadership does to each step.
#include <gtest/gtest.h>

#include "executor/testing/fixture.h"

namespace outlast::executor {
namespace {
using namespace std::chrono_literals;
using testing::ExecutorTest;
using testing::FakeRange;
using testing::Pending;

class GatingTest : public ExecutorTest {
 protected:
  void SetUp() override {
    ASSERT_EQ(code(run("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)")), "");
    ASSERT_EQ(code(run("INSERT INTO t VALUES(1,'x')")), "");
  }
  /// Something is committed that no other replica has yet.
  void leave_undurable() {
    range_->auto_durable = false;
    auto writer = open();
    start(*writer, sql("INSERT INTO t VALUES(" + std::to_string(next_++) + ",'not yet durable')"));
    ASSERT_TRUE(range_->wait_gated(1));
    keep_.push_back(std::move(writer));
  }
  /// The request waits for durability, then is answered.
  proto::ExecReply gated(Channel& channel, proto::ExecRequest r, std::size_t waiters) {
    const Pending pending = start(channel, std::move(r));
    EXPECT_TRUE(range_->wait_gated(waiters));
    EXPECT_FALSE(answered(pending));
    range_->make_all_durable();
    return finish(pending);
  }
  using ExecutorTest::run;
  int next_{100};
  std::vector<std::unique_ptr<Channel>> keep_;
};

TEST_F(GatingTest, HoldsAWriteUntilItsOwnCommitIsDurable) {
  range_->auto_durable = false;
  const auto channel = open();
  const Pending pending = start(*channel, sql("INSERT INTO t VALUES(2,'y')"));
  ASSERT_TRUE(range_->wait_gated(1));
  EXPECT_FALSE(answered(pending));
  EXPECT_FALSE(range_->lock().held()) << "the writer lock is released early";
  range_->set_durable(Lsn(range_->assigned().value - 1));
  EXPECT_FALSE(answered(pending)) << "an older entry is not enough";
  range_->make_all_durable();
  const proto::ExecReply reply = finish(pending);
  EXPECT_EQ(code(reply), "");
  EXPECT_EQ(reply.changes(), 1);
  EXPECT_EQ(reply.lsn(), range_->assigned().value);
}

TEST_F(GatingTest, HoldsRowsThatAreNotDurable) {
  leave_undurable();
  const auto channel = open();
  EXPECT_EQ(rows(gated(*channel, sql("SELECT * FROM t"), 2)).size(), 2U);
}
TEST_F(GatingTest, HoldsAnEmptyResult) {
  leave_undurable();
  const auto channel = open();
  EXPECT_EQ(gated(*channel, sql("SELECT * FROM t WHERE a=77"), 2).rows(), "");
}
TEST_F(GatingTest, HoldsAnErrorThatTellsOfARowNotDurable) {
  leave_undurable();
  const auto channel = open();
  EXPECT_EQ(code(gated(*channel, sql("INSERT INTO t VALUES(100,'again')"), 2)), "unique_violation");
}
TEST_F(GatingTest, HoldsAnErrorOfThePreparation) {
  leave_undurable();
  const auto channel = open();
  EXPECT_EQ(code(gated(*channel, sql("SELECT * FROM nowhere"), 2)), "undefined_table");
}
TEST_F(GatingTest, HoldsAWriteThatChangedNothing) {
  leave_undurable();
  const auto channel = open();
  EXPECT_EQ(gated(*channel, sql("UPDATE t SET b='q' WHERE a=100 AND b='other'"), 2).changes(), 0);
}
TEST_F(GatingTest, HoldsADescription) {
  leave_undurable();
  const auto channel = open();
  proto::ExecRequest r = sql("SELECT a, b FROM t WHERE a=?1");
  r.mutable_run()->set_describe_only(true);
  const proto::ExecReply reply = gated(*channel, r, 2);
  EXPECT_EQ(reply.columns_size(), 2);
  EXPECT_EQ(reply.parameter_count(), 1);
}
TEST_F(GatingTest, HoldsStatementsInsideATransaction) {
  leave_undurable();
  const auto channel = open();
  EXPECT_EQ(rows(gated(*channel, sql("SELECT count(*) FROM t", true), 2)).size(), 1U);
  EXPECT_EQ(code(run(*channel, sql("SELECT * FROM t"))), "") << "the same snapshot: durable by now";
  leave_undurable();
  EXPECT_EQ(code(run(*channel, sql("SELECT * FROM t"))), "") << "and it does not see the newer row";
}
TEST_F(GatingTest, HoldsAnErrorInsideATransaction) {
  leave_undurable();
  const auto channel = open();
  EXPECT_EQ(code(gated(*channel, sql("INSERT INTO t VALUES(100,'z')", true), 2)), "unique_violation");
}
TEST_F(GatingTest, HoldsACommit) {
  const auto channel = open();
  EXPECT_EQ(code(run(*channel, sql("INSERT INTO t VALUES(2,'y')", true))), "");
  range_->auto_durable = false;
  EXPECT_EQ(code(gated(*channel, commit(9), 1)), "");
  EXPECT_EQ(range_->last_request().sequence, 9U);
  EXPECT_EQ(range_->last_request().gateway, 42U);
}
TEST_F(GatingTest, AnswersWhatReadNothingNew) {
  const auto channel = open();
  EXPECT_EQ(code(run(*channel, sql("SELECT * FROM t", true))), "");
  leave_undurable();
  EXPECT_EQ(code(run(*channel, commit())), "") << "its snapshot was durable";
}

// --- Snapshots that the lease does not cover wait for the other in-sync replicas (A4.6 b).
TEST_F(GatingTest, HoldsWhateverTellsOfAnUncoveredSnapshotUntilItIsConfirmed) {
  range_->allow_reads = false;
  const auto channel = open();
  for (const auto& [text, expected] :
       {std::pair("SELECT * FROM t", ""), std::pair("SELECT * FROM nowhere", "undefined_table"),
        std::pair("UPDATE t SET b='q' WHERE a=55", ""),
        std::pair("INSERT INTO t VALUES(1,'twice')", "unique_violation")}) {
    const Pending pending = start(*channel, sql(text));
    ASSERT_TRUE(range_->wait_unconfirmed(1)) << text;
    EXPECT_FALSE(answered(pending)) << text;
    range_->confirm({});
    EXPECT_EQ(code(finish(pending)), expected) << text;
  }
  EXPECT_EQ(code(run(*channel, sql("INSERT INTO t VALUES(2,'y')"))), "") << "all members acknowledged it after all";
  EXPECT_EQ(executor_->counters().confirmed_reads, 4U);
}
TEST_F(GatingTest, TellsTheClientWhatNobodyConfirms) {
  range_->allow_reads = false;
  const auto channel = open();
  for (const bool begin : {false, true}) {
    const Pending pending = start(*channel, sql("SELECT * FROM t", begin));
    ASSERT_TRUE(range_->wait_unconfirmed(1));
    range_->confirm(Error(Errc::kRangeUnavailable, "they do not answer"));
    const proto::ExecReply reply = finish(pending);
    EXPECT_EQ(code(reply), "range_unavailable");
    EXPECT_TRUE(reply.nothing_applied());
    EXPECT_EQ(reply.in_transaction(), begin);
    EXPECT_EQ(reply.rows(), "");
  }
  EXPECT_EQ(code(run(*channel, sql("SELECT * FROM t"))), "in_failed_transaction") << "its snapshot answers nothing";
}
TEST_F(GatingTest, ConfirmsATransactionsSnapshotOnce) {
  range_->allow_reads = false;
  const auto channel = open();
  const Pending first = start(*channel, sql("SELECT * FROM t", true));
  ASSERT_TRUE(range_->wait_unconfirmed(1));
  range_->confirm({});
  EXPECT_EQ(code(finish(first)), "");
  EXPECT_EQ(rows(run(*channel, sql("SELECT * FROM t"))).size(), 1U) << "the same snapshot";
}
TEST_F(GatingTest, AsksAgainForASnapshotWhoseConfirmationWasCancelled) {
  const auto channel = open();
  EXPECT_EQ(code(run(*channel, sql("SELECT 1", true))), "");
  EXPECT_EQ(code(run(*channel, savepoint(proto::Savepoint::SET, "s"))), "");
  range_->allow_reads = false;
  const Pending first = start(*channel, sql("SELECT * FROM t"));
  ASSERT_TRUE(range_->wait_unconfirmed(1));
  channel->interrupt();
  EXPECT_EQ(code(finish(first)), "cancelled");
  EXPECT_EQ(code(run(*channel, savepoint(proto::Savepoint::ROLLBACK_TO, "s"))), "");
  range_->confirm({});  // the late answer to a question that nobody asks any more
  const Pending second = start(*channel, sql("SELECT * FROM t"));
  ASSERT_TRUE(range_->wait_unconfirmed(1));
  EXPECT_FALSE(answered(second));
  range_->confirm({});
  EXPECT_EQ(rows(finish(second)).size(), 1U);
}
TEST_F(GatingTest, AConfirmedReadWaitsForDurabilityToo) {
  leave_undurable();
  range_->allow_reads = false;
  const auto channel = open();
  const Pending pending = start(*channel, sql("SELECT * FROM t"));
  ASSERT_TRUE(range_->wait_unconfirmed(1));
  range_->confirm({});
  ASSERT_TRUE(range_->wait_gated(2));
  EXPECT_FALSE(answered(pending));
  range_->make_all_durable();
  EXPECT_EQ(rows(finish(pending)).size(), 2U);
}
TEST_F(GatingTest, LostWhileAReadWaitsToBeConfirmedIsRepeatedUnseen) {
  range_->allow_reads = false;
  const auto channel = open();
  const Pending pending = start(*channel, sql("SELECT * FROM t"));
  ASSERT_TRUE(range_->wait_unconfirmed(1));
  range_->end_leadership();
  const proto::ExecReply reply = finish(pending);
  EXPECT_EQ(code(reply), "not_leaseholder");
  EXPECT_TRUE(reply.nothing_applied());
}

TEST_F(GatingTest, RefusesAnotherEpochAndAClosedGateUnseen) {
  const auto channel = open();
  proto::ExecRequest other = sql("SELECT 1");
  other.set_epoch(kEpoch.value + 1);
  EXPECT_EQ(code(run(*channel, other)), "not_leaseholder");
  range_->moving = true;
  const proto::ExecReply moving = run(*channel, sql("SELECT 1"));
  EXPECT_EQ(code(moving), "moving");
  EXPECT_TRUE(moving.nothing_applied());
  range_->moving = false;
  EXPECT_EQ(code(run(*channel, sql("SELECT 1"))), "");
}

// --- Leadership lost at each step of an autocommit write.
TEST_F(GatingTest, LostBeforeTheWriteBegins) {
  range_->end_leadership();
  const proto::ExecReply reply = run("INSERT INTO t VALUES(2,'y')");
  EXPECT_EQ(code(reply), "not_leaseholder");
  EXPECT_TRUE(reply.nothing_applied());
}
TEST_F(GatingTest, LostWhileTheWriteWaitsForTheLock) {
  const auto holder = open();
  EXPECT_EQ(code(run(*holder, sql("INSERT INTO t VALUES(2,'y')", true))), "");
  const auto channel = open();
  const Pending pending = start(*channel, sql("INSERT INTO t VALUES(3,'z')"));
  ASSERT_TRUE(range_->lock().wait_waiters(1));
  range_->end_leadership();
  const proto::ExecReply reply = finish(pending);
  EXPECT_EQ(code(reply), "not_leaseholder");
  EXPECT_TRUE(reply.nothing_applied());
}
TEST_F(GatingTest, LostAtTheCommitItself) {
  range_->refuse_commits(Error(Errc::kNotLeaseholder, "the leadership is over"));
  const proto::ExecReply reply = run("INSERT INTO t VALUES(2,'y')");
  EXPECT_EQ(code(reply), "not_leaseholder");
  EXPECT_TRUE(reply.nothing_applied());
}
TEST_F(GatingTest, LostAfterTheCommitIsUnknown) {
  range_->auto_durable = false;
  const auto channel = open();
  const Pending pending = start(*channel, sql("INSERT INTO t VALUES(2,'y')"));
  ASSERT_TRUE(range_->wait_gated(1));
  range_->end_leadership();
  const proto::ExecReply reply = finish(pending);
  EXPECT_EQ(code(reply), "unknown_outcome");
  EXPECT_FALSE(reply.nothing_applied());
  EXPECT_EQ(executor_->counters().unknown, 1U);
}
TEST_F(GatingTest, LoggedAndThenFailedIsUnknownToo) {
  range_->assign_then_fail = true;
  const proto::ExecReply reply = run("INSERT INTO t VALUES(2,'y')");
  EXPECT_EQ(code(reply), "unknown_outcome");
  EXPECT_FALSE(reply.nothing_applied());
}
TEST_F(GatingTest, RefusedByTheLogIsAnOrdinaryFailure) {
  range_->refuse_commits(Error(Errc::kTooLarge, "the transaction is larger than txn.max_bytes"));
  EXPECT_EQ(code(run("INSERT INTO t VALUES(2,'y')")), "too_large");
  EXPECT_FALSE(range_->lock().held());
}
TEST_F(GatingTest, LostWhileAReadWaitsIsRepeatedUnseen) {
  leave_undurable();
  const auto channel = open();
  const Pending pending = start(*channel, sql("SELECT * FROM t"));
  ASSERT_TRUE(range_->wait_gated(2));
  range_->end_leadership();
  const proto::ExecReply reply = finish(pending);
  EXPECT_EQ(code(reply), "not_leaseholder");
  EXPECT_TRUE(reply.nothing_applied());
  EXPECT_EQ(reply.rows(), "");
}

// --- And of a transaction.
TEST_F(GatingTest, LostBeforeTheFirstAnswerOfATransactionIsRepeatedUnseen) {
  leave_undurable();
  const auto channel = open();
  const Pending pending = start(*channel, sql("SELECT * FROM t", true));
  ASSERT_TRUE(range_->wait_gated(2));
  range_->end_leadership();
  const proto::ExecReply reply = finish(pending);
  EXPECT_EQ(code(reply), "not_leaseholder");
  EXPECT_TRUE(reply.nothing_applied());
  EXPECT_FALSE(reply.in_transaction());
}
TEST_F(GatingTest, LostUnderAnOpenWriteTransactionIs40001) {
  const auto channel = open();
  EXPECT_EQ(code(run(*channel, sql("INSERT INTO t VALUES(2,'y')", true))), "");
  range_->end_leadership();
  executor_->sweep();
  EXPECT_EQ(code(run(*channel, sql("SELECT 1"))), "transaction_lost");
  EXPECT_EQ(code(run(*channel, sql("SELECT 1"))), "transaction_lost") << "until it is ended";
  EXPECT_EQ(code(run(*channel, rollback())), "");
  EXPECT_TRUE(range_->lock().wait_free());
}
TEST_F(GatingTest, LostAtCommitOfATransactionIs40001) {
  const auto channel = open();
  EXPECT_EQ(code(run(*channel, sql("INSERT INTO t VALUES(2,'y')", true))), "");
  range_->end_leadership();
  const proto::ExecReply reply = run(*channel, commit());
  EXPECT_EQ(code(reply), "transaction_lost");
  EXPECT_TRUE(reply.nothing_applied());
}
TEST_F(GatingTest, LostAfterCommitOfATransactionIsUnknown) {
  const auto channel = open();
  EXPECT_EQ(code(run(*channel, sql("INSERT INTO t VALUES(2,'y')", true))), "");
  range_->auto_durable = false;
  const Pending pending = start(*channel, commit());
  ASSERT_TRUE(range_->wait_gated(1));
  range_->end_leadership();
  EXPECT_EQ(code(finish(pending)), "unknown_outcome");
}
TEST_F(GatingTest, AReadTransactionFinishesOnItsSnapshotAndMayNotWrite) {
  const auto channel = open();
  EXPECT_EQ(code(run(*channel, sql("SELECT * FROM t", true))), "");
  range_->end_leadership();
  executor_->sweep();
  EXPECT_EQ(rows(run(*channel, sql("SELECT * FROM t"))).size(), 1U);
  EXPECT_EQ(code(run(*channel, sql("INSERT INTO t VALUES(5,'x')"))), "transaction_lost");
  const auto other = open();
  EXPECT_EQ(code(run(*other, sql("SELECT * FROM t"))), "not_leaseholder") << "new snapshots are refused";
}
TEST_F(GatingTest, AReadTransactionOnALostRangeEndsAfterAWhile) {
  const auto channel = open();
  EXPECT_EQ(code(run(*channel, sql("SELECT * FROM t", true))), "");
  range_->end_leadership();
  executor_->sweep();
  clock_.advance(11s);
  executor_->sweep();
  EXPECT_EQ(code(run(*channel, sql("SELECT * FROM t"))), "transaction_lost");
}
TEST_F(GatingTest, ATransactionWithoutASnapshotCannotOpenOneAfterTheLeaseLeft) {
  const auto channel = open();
  EXPECT_EQ(code(run(*channel, sql("SELECT 1", true))), "");
  range_->end_leadership();
  EXPECT_EQ(code(run(*channel, sql("SELECT * FROM t"))), "transaction_lost");
}
TEST_F(GatingTest, DropsIdleConnectionsOfALostRange) {
  EXPECT_GT(range_->connections, 0);
  range_->end_leadership();
  executor_->sweep();
  drain_sql_threads();
  EXPECT_EQ(range_->connections, 0);
  EXPECT_EQ(executor_->stats().connections, 0U);
}

}  // namespace
}  // namespace outlast::executor
