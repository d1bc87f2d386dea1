// What is recorded with a write, and what its gateway is told about it afterwards.
#include "executor/testing/fixture.h"

namespace outlast::executor::testing {
namespace {

class ResolveTest : public ExecutorTest {
 protected:
  ResolveTest() { EXPECT_EQ(code(run("CREATE TABLE t(id INTEGER PRIMARY KEY, x TEXT)")), ""); }
  static proto::ExecRequest write(std::string text, std::uint64_t id, std::string tag = "INSERT") {
    proto::ExecRequest r = sql(std::move(text));
    r.mutable_run()->set_request_id(id);
    r.mutable_run()->set_tag(std::move(tag));
    return r;
  }
  static proto::ExecRequest resolve(std::uint64_t id, Epoch addressed = kEpoch) {
    proto::ExecRequest r = request();
    r.mutable_resolve()->set_request_id(id);
    r.mutable_resolve()->set_addressed_epoch(addressed.value);
    r.mutable_resolve()->set_after_lsn(5);
    r.mutable_resolve()->set_age_ms(250);
    return r;
  }
  proto::ExecReply ask(std::uint64_t id) {
    const auto channel = open();
    return run(*channel, resolve(id));
  }
};

TEST_F(ResolveTest, RecordsTagCountAndWhatReturningGave) {
  const auto channel = open();
  const auto reply = run(*channel, write("INSERT INTO t(x) VALUES('a'), ('b') RETURNING id, x", 7));
  ASSERT_EQ(code(reply), "");
  const storage::RequestOutcome kept = range_->last_request();
  EXPECT_EQ(kept.gateway, 42U);
  EXPECT_EQ(kept.sequence, 7U);
  EXPECT_EQ(kept.changes, 2);
  EXPECT_EQ(kept.tag, "INSERT RETURNING");
  EXPECT_FALSE(kept.result.empty());
  const auto told = ask(7);
  ASSERT_EQ(code(told), "");
  EXPECT_EQ(told.resolved().state(), proto::Resolved::APPLIED);
  EXPECT_EQ(told.changes(), 2);
  EXPECT_EQ(told.rows(), reply.rows());
  ASSERT_EQ(told.columns_size(), 2);
  EXPECT_EQ(told.columns(1).SerializeAsString(), reply.columns(1).SerializeAsString());
  EXPECT_FALSE(told.resolved().rows_lost());
  EXPECT_EQ(told.portal(), 0U);
}

TEST_F(ResolveTest, KeepsNoMoreThanFourKibibytesAndSaysWhatIsLost) {
  const auto channel = open();
  ASSERT_EQ(code(run(*channel, write("INSERT INTO t(x) VALUES(hex(zeroblob(2100))) RETURNING x", 7))), "");
  EXPECT_EQ(range_->last_request().result, "");
  EXPECT_TRUE(ask(7).resolved().rows_lost());
  EXPECT_EQ(ask(7).changes(), 1);
  ASSERT_EQ(code(run(*channel, write("INSERT INTO t(x) VALUES(hex(zeroblob(1900))) RETURNING x", 8))), "");
  EXPECT_LE(range_->last_request().result.size(), storage::kResultBytesMax);
  EXPECT_FALSE(ask(8).resolved().rows_lost());
  ASSERT_EQ(code(run(*channel, write("INSERT INTO t(x) VALUES('c')", 9))), "");
  EXPECT_EQ(range_->last_request().tag, "INSERT");
  EXPECT_EQ(range_->last_request().result, "") << "nothing new to say: older programs can read the entry";
  EXPECT_FALSE(ask(9).resolved().rows_lost());
}

TEST_F(ResolveTest, ARequestThatNeverCameIsAbsentAndIsRefusedWhenItComes) {
  const auto told = ask(7);
  ASSERT_EQ(code(told), "");
  EXPECT_EQ(told.resolved().state(), proto::Resolved::ABSENT);
  EXPECT_TRUE(told.resolved().certain());
  const auto question = range_->last_question();
  ASSERT_TRUE(question.has_value());
  EXPECT_EQ(question->id, (replication::RequestId{42, 7}));
  EXPECT_EQ(question->addressed, kEpoch);
  EXPECT_EQ(question->after, Lsn(5));
  EXPECT_EQ(question->age, std::chrono::milliseconds(250));
  const auto channel = open();
  const auto late = run(*channel, write("INSERT INTO t(x) VALUES('late')", 7));
  EXPECT_EQ(code(late), "stale_epoch");
  EXPECT_TRUE(late.nothing_applied());
  EXPECT_EQ(number("SELECT count(*) FROM t"), 0);
  EXPECT_EQ(code(run(*channel, write("INSERT INTO t(x) VALUES('other')", 8))), "");
}

TEST_F(ResolveTest, ARequestPastItsEntryIsStoppedAtItsCommit) {
  replication::WriterLock::Hold hold;
  range_->lock().acquire(Instant::max(), false, [&](auto got) { hold = *std::move(got); });
  const auto channel = open();
  const Pending running = start(*channel, write("INSERT INTO t(x) VALUES('running')", 7));
  ASSERT_TRUE(range_->lock().wait_waiters(1)) << "it has passed the entry";
  EXPECT_EQ(ask(7).resolved().state(), proto::Resolved::ABSENT);
  hold.release();
  const auto reply = finish(running);
  EXPECT_EQ(code(reply), "stale_epoch");
  EXPECT_TRUE(reply.nothing_applied());
  EXPECT_EQ(number("SELECT count(*) FROM t"), 0);
}

TEST_F(ResolveTest, AppliedIsToldOnceItIsDurable) {
  range_->auto_durable = false;
  const auto channel = open(), other = open();
  const Pending running = start(*channel, write("INSERT INTO t(x) VALUES('a')", 7));
  ASSERT_TRUE(range_->wait_gated(1));
  const Pending asking = start(*other, resolve(7));
  ASSERT_TRUE(range_->wait_gated(2));
  EXPECT_FALSE(answered(asking));
  range_->make_all_durable();
  EXPECT_EQ(finish(asking).resolved().state(), proto::Resolved::APPLIED);
  EXPECT_EQ(finish(running).changes(), 1);
}

TEST_F(ResolveTest, ALeadershipThatEndsMeanwhileSaysNothing) {
  range_->auto_durable = false;
  const auto channel = open(), other = open();
  const Pending running = start(*channel, write("INSERT INTO t(x) VALUES('a')", 7));
  ASSERT_TRUE(range_->wait_gated(1));
  const Pending asking = start(*other, resolve(7));
  ASSERT_TRUE(range_->wait_gated(2));
  range_->end_leadership();
  const auto told = finish(asking);
  EXPECT_EQ(code(told), "range_unavailable");
  EXPECT_FALSE(told.has_resolved());
  EXPECT_EQ(code(finish(running)), "unknown_outcome");
}

TEST_F(ResolveTest, AClosedGateDoesNotKeepTheAnswerBack) {
  const auto channel = open();
  ASSERT_EQ(code(run(*channel, write("INSERT INTO t(x) VALUES('a')", 7))), "");
  range_->moving = true;
  EXPECT_EQ(ask(7).resolved().state(), proto::Resolved::APPLIED);
  directory_.set(nullptr);
  EXPECT_EQ(code(ask(7)), "not_leaseholder");
}

TEST_F(ResolveTest, AnInterruptEndsTheWait) {
  range_->auto_durable = false;
  const auto channel = open(), other = open();
  const Pending running = start(*channel, write("INSERT INTO t(x) VALUES('a')", 7));
  ASSERT_TRUE(range_->wait_gated(1));
  const Pending asking = start(*other, resolve(7));
  ASSERT_TRUE(range_->wait_gated(2));
  other->interrupt();
  EXPECT_EQ(code(finish(asking)), "cancelled");
  range_->make_all_durable();
  EXPECT_EQ(code(finish(running)), "");
}

TEST_F(ResolveTest, ACommitThatIsSaidToBeAbsentIsRolledBack) {
  const auto channel = open();
  ASSERT_EQ(code(run(*channel, sql("INSERT INTO t(x) VALUES('a')", true))), "");
  EXPECT_EQ(ask(9).resolved().state(), proto::Resolved::ABSENT);
  const auto late = run(*channel, commit(9));
  EXPECT_EQ(code(late), "transaction_lost");
  EXPECT_TRUE(late.nothing_applied());
  EXPECT_FALSE(late.in_transaction());
  EXPECT_EQ(number("SELECT count(*) FROM t"), 0);
  ASSERT_EQ(code(run(*channel, sql("INSERT INTO t(x) VALUES('b')", true))), "");
  ASSERT_EQ(code(run(*channel, commit(10))), "");
  EXPECT_EQ(range_->last_request().sequence, 10U);
  EXPECT_EQ(ask(10).resolved().state(), proto::Resolved::APPLIED);
}

TEST_F(ResolveTest, AForgetfulRangeSaysHowFarBackItRemembers) {
  range_->forgetful = true;
  const auto told = ask(7);
  EXPECT_FALSE(told.resolved().certain());
  EXPECT_EQ(told.resolved().covered_ms(), 10'000U);
}

TEST_F(ResolveTest, ARequestThatNamesNoEpochOrAnotherOneIsRefused) {
  const auto channel = open();
  proto::ExecRequest none = write("INSERT INTO t(x) VALUES('a')", 7);
  none.set_epoch(0);
  EXPECT_EQ(code(run(*channel, none)), "protocol_violation");
  proto::ExecRequest older = write("INSERT INTO t(x) VALUES('a')", 7);
  older.set_epoch(kEpoch.value - 1);
  EXPECT_EQ(code(run(*channel, older)), "not_leaseholder");
  EXPECT_EQ(number("SELECT count(*) FROM t"), 0);
}

}  // namespace
}  // namespace outlast::executor::testing
