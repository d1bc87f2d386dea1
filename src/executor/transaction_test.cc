#include <gtest/gtest.h>

#include "executor/testing/fixture.h"

namespace outlast::executor {
namespace {
using namespace std::chrono_literals;
using testing::ExecutorTest;
using testing::Pending;

class TransactionTest : public ExecutorTest {
 protected:
  explicit TransactionTest(std::size_t threads = 2) : ExecutorTest(threads) {}
  void SetUp() override {
    ASSERT_EQ(code(run("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT)")), "");
    ASSERT_EQ(code(run("CREATE TABLE child(x INTEGER REFERENCES t(a) DEFERRABLE INITIALLY DEFERRED)")), "");
  }
  using ExecutorTest::run;
};

TEST_F(TransactionTest, CommitsAllOrNothing) {
  const auto channel = open();
  EXPECT_TRUE(run(*channel, sql("INSERT INTO t VALUES(1,'x')", true)).in_transaction());
  EXPECT_EQ(number("SELECT count(*) FROM t"), 0) << "not visible to others yet";
  EXPECT_EQ(code(run(*channel, sql("INSERT INTO t VALUES(2,'y')"))), "");
  const proto::ExecReply done = run(*channel, commit());
  EXPECT_EQ(code(done), "");
  EXPECT_FALSE(done.in_transaction());
  EXPECT_EQ(number("SELECT count(*) FROM t"), 2);
  EXPECT_EQ(code(run(*channel, sql("INSERT INTO t VALUES(3,'z')", true))), "");
  EXPECT_EQ(code(run(*channel, rollback())), "");
  EXPECT_EQ(number("SELECT count(*) FROM t"), 2);
  EXPECT_FALSE(range_->lock().held());
}

TEST_F(TransactionTest, AReadingTransactionHoldsNoWriterLock) {
  const auto channel = open();
  EXPECT_EQ(code(run(*channel, sql("SELECT * FROM t", true))), "");
  EXPECT_FALSE(range_->lock().held());
  EXPECT_EQ(code(run("INSERT INTO t VALUES(1,'x')")), "");
  EXPECT_EQ(rows(run(*channel, sql("SELECT count(*) FROM t")))[0][0], Value(std::int64_t{0})) << "its own snapshot";
  EXPECT_EQ(code(run(*channel, commit())), "");
}

TEST_F(TransactionTest, RefusesToWriteFromAnOutdatedSnapshot) {
  const auto channel = open();
  EXPECT_EQ(code(run(*channel, sql("SELECT * FROM t", true))), "");
  EXPECT_EQ(code(run("INSERT INTO t VALUES(1,'x')")), "");
  const proto::ExecReply reply = run(*channel, sql("INSERT INTO t VALUES(2,'y')"));
  EXPECT_EQ(code(reply), "serialization_failure");
  EXPECT_TRUE(reply.nothing_applied());
  EXPECT_EQ(code(run(*channel, sql("SELECT 1"))), "in_failed_transaction");
  EXPECT_EQ(code(run(*channel, commit())), "in_failed_transaction");
  EXPECT_EQ(number("SELECT count(*) FROM t"), 1);
}

TEST_F(TransactionTest, AnErrorFailsItUntilRollback) {
  const auto channel = open();
  EXPECT_EQ(code(run(*channel, sql("INSERT INTO t VALUES(1,'x')", true))), "");
  EXPECT_EQ(code(run(*channel, sql("INSERT INTO t VALUES(1,'x')"))), "unique_violation");
  EXPECT_EQ(code(run(*channel, sql("SELECT 1"))), "in_failed_transaction");
  EXPECT_EQ(code(run(*channel, rollback())), "");
  EXPECT_EQ(code(run(*channel, sql("INSERT INTO t VALUES(1,'x')"))), "");
}

TEST_F(TransactionTest, SavepointsNestAndReviveAFailedTransaction) {
  const auto channel = open();
  EXPECT_EQ(code(run(*channel, savepoint(proto::Savepoint::SET, "a"))), "no_active_transaction");
  EXPECT_EQ(code(run(*channel, sql("", true))), "") << "a bare BEGIN";
  EXPECT_EQ(code(run(*channel, sql("INSERT INTO t VALUES(1,'x')"))), "");
  EXPECT_EQ(code(run(*channel, savepoint(proto::Savepoint::SET, "a"))), "");
  EXPECT_EQ(code(run(*channel, sql("INSERT INTO t VALUES(2,'y')"))), "");
  EXPECT_EQ(code(run(*channel, savepoint(proto::Savepoint::SET, "A"))), "");
  EXPECT_EQ(code(run(*channel, sql("INSERT INTO t VALUES(2,'y')"))), "unique_violation");
  EXPECT_EQ(code(run(*channel, savepoint(proto::Savepoint::SET, "b"))), "in_failed_transaction");
  EXPECT_EQ(code(run(*channel, savepoint(proto::Savepoint::ROLLBACK_TO, "nope"))), "invalid_savepoint");
  EXPECT_EQ(code(run(*channel, savepoint(proto::Savepoint::ROLLBACK_TO, "a"))), "");
  EXPECT_EQ(code(run(*channel, savepoint(proto::Savepoint::RELEASE, "A"))), "invalid_savepoint") << "it went with a";
  EXPECT_EQ(code(run(*channel, savepoint(proto::Savepoint::ROLLBACK_TO, "a"))), "");
  EXPECT_EQ(code(run(*channel, savepoint(proto::Savepoint::RELEASE, "a"))), "");
  EXPECT_EQ(code(run(*channel, commit())), "");
  EXPECT_EQ(number("SELECT count(*) FROM t"), 1);
}

TEST_F(TransactionTest, ACommitThatBreaksADeferredConstraintRollsBack) {
  const auto channel = open();
  EXPECT_EQ(code(run(*channel, sql("INSERT INTO child VALUES(99)", true))), "");
  EXPECT_EQ(code(run(*channel, commit())), "foreign_key_violation");
  EXPECT_FALSE(range_->lock().held());
  EXPECT_EQ(number("SELECT count(*) FROM child"), 0);
  EXPECT_EQ(code(run(*channel, sql("INSERT INTO t VALUES(1,'x')"))), "") << "the channel goes on";
}

TEST_F(TransactionTest, ManyParameterSetsAreOneTransaction) {
  const auto channel = open();
  proto::ExecRequest r = sql("INSERT INTO t VALUES(?1,?2) RETURNING a");
  for (int i = 1; i <= 3; ++i) {
    proto::Params* params = r.mutable_run()->add_params();
    params->add_values()->set_integer(i);
    params->add_values()->set_text("row");
  }
  const proto::ExecReply reply = run(*channel, r);
  EXPECT_EQ(reply.changes(), 3);
  EXPECT_EQ(rows(reply).size(), 3U);
  EXPECT_EQ(reply.columns(0).name(), "a");
  proto::ExecRequest half = r;
  half.mutable_run()->mutable_params(0)->mutable_values(0)->set_integer(9);
  EXPECT_EQ(code(run(*channel, half)), "unique_violation");
  EXPECT_EQ(number("SELECT count(*) FROM t"), 3) << "not even the first of them";
}

TEST_F(TransactionTest, ASweepDuringTheFirstStatementFindsNoOldSnapshot) {
  const auto channel = open();
  const Pending pending = start(
      *channel, sql("WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) SELECT count(*) FROM c", true));
  while (executor_->counters().reads.load() == 0) drain_sql_threads_once();
  executor_->sweep();
  channel->interrupt();
  EXPECT_EQ(code(finish(pending)), "cancelled") << "the first reason to stop is the one that counts";
}

TEST_F(TransactionTest, ReadingForUpdateTakesTheWriterLock) {
  const auto first = open();
  const auto second = open();
  proto::ExecRequest locking = sql("SELECT * FROM t", true);
  locking.mutable_run()->set_takes_lock(true);
  EXPECT_EQ(code(run(*first, locking)), "");
  EXPECT_TRUE(range_->lock().held());
  proto::ExecRequest late = locking;
  late.set_lock_timeout_ms(50);
  const Pending waiting = start(*second, late);
  while (executor_->counters().lock_waits.load() == 0) drain_sql_threads_once();
  clock_.advance(51ms);
  executor_->sweep();
  EXPECT_EQ(code(finish(waiting)), "lock_timeout");
  EXPECT_EQ(code(run(*first, sql("INSERT INTO t VALUES(1,'x')"))), "") << "its snapshot cannot be outdated";
  EXPECT_EQ(code(run(*first, commit())), "");
  EXPECT_FALSE(range_->lock().held());
  EXPECT_EQ(code(run(*second, rollback())), "");
  EXPECT_EQ(rows(run(*second, locking)).size(), 1U);
  EXPECT_EQ(code(run(*second, commit())), "");
  EXPECT_FALSE(range_->lock().held());
}

TEST_F(TransactionTest, ReadingForUpdateFromAnOutdatedSnapshotSaysSo) {
  const auto channel = open();
  EXPECT_EQ(code(run(*channel, sql("SELECT * FROM t", true))), "");
  EXPECT_EQ(code(run("INSERT INTO t VALUES(1,'x')")), "");
  proto::ExecRequest locking = sql("SELECT * FROM t");
  locking.mutable_run()->set_takes_lock(true);
  EXPECT_EQ(code(run(*channel, locking)), "serialization_failure");
  EXPECT_EQ(code(run(*channel, rollback())), "");
  EXPECT_FALSE(range_->lock().held());
}

TEST_F(TransactionTest, ReadOnlyRefusesWrites) {
  const auto channel = open();
  proto::ExecRequest r = sql("DELETE FROM t", true);
  r.mutable_run()->set_read_only(true);
  EXPECT_EQ(code(run(*channel, r)), "read_only_transaction");
  EXPECT_FALSE(range_->lock().held());
}

TEST_F(TransactionTest, ImmediateTakesTheLockAtOnce) {
  const auto channel = open();
  proto::ExecRequest r = sql("SELECT * FROM t", true);
  r.mutable_run()->set_immediate(true);
  EXPECT_EQ(code(run(*channel, r)), "");
  EXPECT_TRUE(range_->lock().held());
  EXPECT_EQ(code(run(*channel, sql("INSERT INTO t VALUES(1,'x')"))), "") << "its snapshot cannot be outdated";
  EXPECT_EQ(code(run(*channel, commit())), "");
  EXPECT_FALSE(range_->lock().held());
}

TEST_F(TransactionTest, WritersAreServedInOrderOfAsking) {
  const auto holder = open();
  EXPECT_EQ(code(run(*holder, sql("CREATE TABLE log(n INTEGER PRIMARY KEY AUTOINCREMENT, who INT)", true))), "");
  std::vector<std::unique_ptr<Channel>> channels;
  std::vector<Pending> pending;
  for (std::size_t i = 0; i < 8; ++i) {
    channels.push_back(open());
    pending.push_back(start(*channels.back(), sql("INSERT INTO t VALUES(NULL,'" + std::to_string(i) + "')")));
    ASSERT_TRUE(range_->lock().wait_waiters(i + 1));
  }
  EXPECT_EQ(code(run(*holder, commit())), "");
  for (const Pending& p : pending) EXPECT_EQ(code(finish(p)), "");
  EXPECT_EQ(number("SELECT count(*) FROM t WHERE CAST(b AS INT) = a - 1"), 8);
}

TEST_F(TransactionTest, TheLockWaitEndsAtItsTimeOut) {
  const auto holder = open();
  EXPECT_EQ(code(run(*holder, sql("INSERT INTO t VALUES(1,'x')", true))), "");
  const auto channel = open();
  proto::ExecRequest r = sql("INSERT INTO t VALUES(2,'y')", true);
  r.set_lock_timeout_ms(5000);
  Pending pending = start(*channel, r);
  ASSERT_TRUE(range_->lock().wait_waiters(1));
  clock_.advance(4s);
  executor_->sweep();
  EXPECT_FALSE(answered(pending));
  clock_.advance(2s);
  executor_->sweep();
  EXPECT_EQ(code(finish(pending)), "lock_timeout");
  drain_sql_threads();
  EXPECT_EQ(range_->lock().waiters(), 0U);
  EXPECT_EQ(code(run(*channel, rollback())), "");
  r.set_timeout_ms(1000);
  pending = start(*channel, r);
  ASSERT_TRUE(range_->lock().wait_waiters(1));
  clock_.advance(1001ms);
  executor_->sweep();
  EXPECT_EQ(code(finish(pending)), "deadline") << "the statement's own deadline came first";
}

TEST_F(TransactionTest, AnInterruptEndsAWaitForTheLock) {
  const auto holder = open();
  EXPECT_EQ(code(run(*holder, sql("INSERT INTO t VALUES(1,'x')", true))), "");
  const auto channel = open();
  const Pending pending = start(*channel, sql("INSERT INTO t VALUES(2,'y')"));
  ASSERT_TRUE(range_->lock().wait_waiters(1));
  channel->interrupt();
  EXPECT_EQ(code(finish(pending)), "cancelled");
  drain_sql_threads();
  EXPECT_EQ(range_->lock().waiters(), 0U);
  EXPECT_EQ(code(run(*holder, commit())), "");
  EXPECT_EQ(code(run(*channel, sql("INSERT INTO t VALUES(2,'y')"))), "") << "the interrupt does not linger";
}

TEST_F(TransactionTest, AnIdleLockHolderIsEnded) {
  const auto channel = open();
  proto::ExecRequest r = sql("INSERT INTO t VALUES(1,'x')", true);
  r.set_idle_timeout_ms(60'000);
  EXPECT_EQ(code(run(*channel, r)), "");
  clock_.advance(59s);
  executor_->sweep();
  EXPECT_TRUE(range_->lock().held());
  clock_.advance(1s);
  executor_->sweep();
  EXPECT_TRUE(range_->lock().wait_free());
  EXPECT_EQ(code(run(*channel, commit())), "idle_in_transaction");
  EXPECT_EQ(code(run(*channel, sql("INSERT INTO t VALUES(1,'x')"))), "");
  EXPECT_EQ(executor_->counters().ended_idle, 1U);
}

TEST_F(TransactionTest, AnIdleReaderIsNotEndedByIt) {
  const auto channel = open();
  proto::ExecRequest r = sql("SELECT * FROM t", true);
  r.set_idle_timeout_ms(60'000);
  EXPECT_EQ(code(run(*channel, r)), "");
  clock_.advance(120s);
  executor_->sweep();
  EXPECT_EQ(code(run(*channel, sql("SELECT 1"))), "");
}

TEST_F(TransactionTest, AnOrphanIsRolledBack) {
  auto channel = open();
  EXPECT_EQ(code(run(*channel, sql("INSERT INTO t VALUES(1,'x')", true))), "");
  channel.reset();
  EXPECT_TRUE(range_->lock().wait_free());
  EXPECT_EQ(number("SELECT count(*) FROM t"), 0);
  EXPECT_EQ(executor_->counters().orphans, 1U);
  drain_sql_threads();
  EXPECT_EQ(executor_->stats().channels, 0U);
}

TEST_F(TransactionTest, AnOrphanThatWaitsForTheLockIsRolledBack) {
  const auto holder = open();
  EXPECT_EQ(code(run(*holder, sql("INSERT INTO t VALUES(1,'x')", true))), "");
  auto channel = open();
  EXPECT_EQ(code(run(*channel, sql("SELECT 1", true))), "");
  const Pending pending = start(*channel, sql("INSERT INTO t VALUES(2,'y')"));
  ASSERT_TRUE(range_->lock().wait_waiters(1));
  channel.reset();
  EXPECT_EQ(code(finish(pending)), "cancelled");
  drain_sql_threads();
  EXPECT_EQ(executor_->stats().transactions, 1U) << "the holder's";
}

TEST_F(TransactionTest, ACancelledWriteTakesItsWholeTransactionWithIt) {
  const auto channel = open();
  EXPECT_EQ(code(run(*channel, sql("", true))), "");
  EXPECT_EQ(code(run(*channel, savepoint(proto::Savepoint::SET, "a"))), "");
  proto::ExecRequest endless =
      sql("INSERT INTO t SELECT n, 'x' FROM (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c) "
          "SELECT n FROM c)");
  endless.set_timeout_ms(50);
  const std::uint64_t before = executor_->counters().writes;
  const Pending pending = start(*channel, endless);
  while (executor_->counters().writes == before) drain_sql_threads_once();
  clock_.advance(60ms);
  EXPECT_EQ(code(finish(pending)), "deadline");
  EXPECT_EQ(code(run(*channel, savepoint(proto::Savepoint::ROLLBACK_TO, "a"))), "transaction_lost");
  EXPECT_EQ(code(run(*channel, rollback())), "");
  EXPECT_EQ(number("SELECT count(*) FROM t"), 0);
}

TEST_F(TransactionTest, ATransactionStaysInItsEpoch) {
  const auto channel = open();
  EXPECT_EQ(code(run(*channel, sql("SELECT * FROM t", true))), "");
  proto::ExecRequest r = sql("SELECT * FROM t");
  r.set_epoch(kEpoch.value + 1);
  EXPECT_EQ(code(run(*channel, r)), "transaction_lost");
}

TEST_F(TransactionTest, RefusesASecondBeginAndTwoRequestsAtOnce) {
  const auto channel = open();
  EXPECT_EQ(code(run(*channel, sql("SELECT 1", true))), "");
  EXPECT_EQ(code(run(*channel, sql("SELECT 1", true))), "active_transaction");
  EXPECT_EQ(code(run(*channel, rollback())), "");
  const auto holder = open();
  EXPECT_EQ(code(run(*holder, sql("INSERT INTO t VALUES(1,'x')", true))), "");
  const Pending waiting = start(*channel, sql("INSERT INTO t VALUES(2,'y')"));
  ASSERT_TRUE(range_->lock().wait_waiters(1));
  EXPECT_EQ(code(run(*channel, sql("SELECT 1"))), "protocol_violation");
  EXPECT_EQ(code(run(*holder, rollback())), "");
  EXPECT_EQ(code(finish(waiting)), "");
}

class OneThread : public TransactionTest {
 protected:
  OneThread() : TransactionTest(1) {}
};

TEST_F(OneThread, ServesACommitWhileManyWaitForTheLockAndForDurability) {
  const auto holder = open();
  EXPECT_EQ(code(run(*holder, sql("INSERT INTO t VALUES(1000,'x')", true))), "");
  std::vector<std::unique_ptr<Channel>> channels;
  std::vector<Pending> pending;
  for (int i = 0; i < 50; ++i) {
    channels.push_back(open());
    const bool explicit_one = i % 2 == 0;
    pending.push_back(start(*channels.back(), sql("INSERT INTO t VALUES(NULL,'y')", explicit_one)));
  }
  ASSERT_TRUE(range_->lock().wait_waiters(50));
  EXPECT_EQ(number("SELECT count(*) FROM t"), 0) << "reads go on";
  range_->auto_durable = false;
  const Pending committing = start(*holder, commit());
  std::vector<bool> committed(pending.size());
  for (int round = 0; round < 500; ++round) {
    range_->make_all_durable();
    bool all = answered(committing);
    for (std::size_t i = 0; i < pending.size(); ++i) {
      if (!answered(pending[i])) {
        all = false;
        continue;
      }
      if (i % 2 == 0 && !committed[i]) {
        committed[i] = true;
        pending[i] = start(*channels[i], commit());
        all = false;
      }
    }
    if (all) break;
    drain_sql_threads();
  }
  EXPECT_EQ(code(finish(committing)), "");
  for (const Pending& p : pending) EXPECT_EQ(code(finish(p)), "");
  EXPECT_EQ(number("SELECT count(*) FROM t"), 51);
}

// --- A drain's fragment wait (A7).
TEST_F(TransactionTest, WorkOfOtherGatewaysIsCountedAndInTheEndRolledBack) {
  constexpr std::uint64_t kOwn = 1;  // open() comes from another gateway
  const auto foreign = open(), idle = open();
  const auto own = executor_->open_channel(kOwn);
  EXPECT_EQ(code(run(*own, sql("SELECT * FROM t", true))), "");
  EXPECT_EQ(executor_->foreign_work(kOwn).transactions, 0u);
  EXPECT_EQ(code(run(*foreign, sql("INSERT INTO t VALUES(1,'x')", true))), "");
  EXPECT_EQ(executor_->foreign_work(kOwn).transactions, 1u);
  EXPECT_EQ(executor_->foreign_work(kOwn, clock_.now()).transactions, 0u) << "it began at this instant, not before";
  clock_.advance(1s);
  const Instant cutoff = clock_.now();
  executor_->end_foreign_work(kOwn, cutoff);
  EXPECT_EQ(executor_->foreign_work(kOwn).transactions, 0u);
  EXPECT_EQ(code(run(*foreign, sql("INSERT INTO t VALUES(2,'y')"))), "transaction_lost");
  EXPECT_EQ(code(run(*foreign, rollback())), "");
  EXPECT_EQ(number("SELECT count(*) FROM t"), 0) << "nothing of it was applied";
  EXPECT_EQ(code(run(*own, commit())), "") << "the node's own sessions are bounded by the transaction wait instead";
  EXPECT_EQ(code(run(*foreign, sql("INSERT INTO t VALUES(3,'z')", true))), "");
  executor_->end_foreign_work(kOwn, cutoff);
  EXPECT_EQ(code(run(*foreign, commit())), "") << "what began later is none of that drain's business";
}

}  // namespace
}  // namespace outlast::executor
