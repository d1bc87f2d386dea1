// Sessions against fake leaseholders (scripted channels), and against real executors over fake ranges.
#include "gateway/retry.h"
#include "gateway/testing/fixture.h"

namespace outlast::gateway {
namespace {
using namespace std::chrono_literals;
using namespace testing;  // NOLINT: the fixture

TEST_F(GatewayTest, ASessionStartsWithTheClustersLimits) {
  const auto fresh = cluster_->open_session();
  EXPECT_EQ(fresh->limits().idle_in_transaction_timeout, 7s);
  EXPECT_EQ(fresh->limits().lock_timeout, 1500ms);
  EXPECT_EQ(fresh->limits().statement_timeout, 0s) << "unknown to an older cluster";
}

TEST_F(GatewayTest, TellsTheLeaseholderToLockFirst) {
  ASSERT_TRUE(session_->begin({}).ok());
  Statement locking{.sql = "SELECT 1", .tag = "SELECT"};
  locking.takes_lock = true;
  ASSERT_TRUE(await(session_->run(locking)).ok());
  EXPECT_TRUE(nodes_[1].seen.back().run().takes_lock());
}

TEST_F(GatewayTest, FollowsTheLeaseAfterARefusalWithoutTellingTheClient) {
  at(1, [this](const auto&) {
    lead(2);
    return refuse(Errc::kNotLeaseholder);
  });
  EXPECT_EQ(run("INSERT INTO t VALUES(1)"), kFine);
  EXPECT_EQ(calls(1), 1U);
  ASSERT_EQ(calls(2), 1U);
  EXPECT_EQ(nodes_[2].seen[0].epoch(), 2U);
  EXPECT_NE(nodes_[1].seen[0].run().request_id(), nodes_[2].seen[0].run().request_id()) << "a new id (A5.6)";
  EXPECT_EQ(cluster_->counters().repeated_unseen, 1U);
}

TEST_F(GatewayTest, HoldsStatementsWhileTheLeaseMoves) {
  for (int i = 0; i < 3; ++i) at(1, Errc::kMoving);
  EXPECT_EQ(run("SELECT 1", "SELECT"), kFine);
  EXPECT_EQ(calls(1), 4U);
}

TEST_F(GatewayTest, RepeatsWhatCertainlyNeverStarted) {
  at(1, Errc::kUnavailable, true);
  EXPECT_EQ(run("INSERT INTO t VALUES(1)"), kFine);
  EXPECT_EQ(calls(1), 2U);
}

TEST_F(GatewayTest, AReadInDoubtIsRepeatedUnseen) {
  at(1, Errc::kUnavailable, false);
  EXPECT_EQ(run("SELECT * FROM t", "SELECT"), kFine);
  at(1, Errc::kUnavailable, false);
  EXPECT_EQ(run(" (select 1)", ""), kFine);
  EXPECT_EQ(calls(1), 4U);
}

TEST_F(GatewayTest, PassesOnWhatTheLeaseholderSays) {
  at(1, Errc::kUniqueViolation);
  EXPECT_EQ(run("INSERT INTO t VALUES(1)"), Errc::kUniqueViolation);
  EXPECT_EQ(calls(1), 1U);
}

TEST_F(GatewayTest, BeginIsLazyAndTheFirstStatementIsRepeatedUnseen) {
  ASSERT_TRUE(session_->begin({.immediate = true}).ok());
  EXPECT_EQ(calls(1), 0U);
  at(1, [this](const auto&) {
    lead(2);
    return refuse(Errc::kUnavailable, false);  // in doubt, but without its COMMIT nothing remains
  });
  EXPECT_EQ(run("INSERT INTO t VALUES(1)"), kFine);
  ASSERT_EQ(calls(2), 1U);
  EXPECT_TRUE(nodes_[2].seen[0].run().begin());
  EXPECT_TRUE(nodes_[2].seen[0].run().immediate());
  EXPECT_EQ(run("INSERT INTO t VALUES(2)"), kFine);
  EXPECT_FALSE(nodes_[2].seen[1].run().begin());
  EXPECT_EQ(commit(), kFine);
  EXPECT_TRUE(nodes_[2].seen[2].has_commit());
  EXPECT_EQ(session_->status(), TxnStatus::kIdle);
}

TEST_F(GatewayTest, ATransactionIsPinnedToItsLeaseholderAndEpoch) {
  ASSERT_TRUE(session_->begin({}).ok());
  EXPECT_EQ(run("SELECT 1"), kFine);
  lead(2);
  EXPECT_EQ(run("SELECT 1"), kFine);
  EXPECT_EQ(calls(1), 2U);
  EXPECT_EQ(nodes_[1].seen[1].epoch(), 1U);
  EXPECT_EQ(calls(2), 0U);
}

TEST_F(GatewayTest, AStatementForAnotherRangeGoesToItsLeaseholder) {
  routes_.update(RangeId(9), Route{NodeId(3), Incarnation(13), Epoch(4)});
  ASSERT_TRUE(await(session_->run({.sql = "SELECT 1", .tag = "SELECT", .range = RangeId(9)})).ok());
  ASSERT_EQ(calls(3), 1U);
  EXPECT_EQ(nodes_[3].seen[0].range(), 9U);
  EXPECT_EQ(run("SELECT 1", "SELECT"), kFine);
  EXPECT_EQ(calls(1), 1U) << "the next one without a range is the database's again";
}

TEST_F(GatewayTest, ATransactionStaysInTheRangeOfItsFirstStatement) {
  routes_.update(RangeId(9), Route{NodeId(3), Incarnation(13), Epoch(4)});
  ASSERT_TRUE(session_->begin({}).ok());
  ASSERT_TRUE(await(session_->run({.sql = "INSERT", .tag = "INSERT", .range = RangeId(9)})).ok());
  ASSERT_TRUE(await(session_->run({.sql = "INSERT", .tag = "INSERT", .range = RangeId(9)})).ok());
  EXPECT_EQ(run("INSERT INTO t VALUES(1)"), Errc::kActiveTransaction);
  EXPECT_EQ(session_->status(), TxnStatus::kFailed);
  EXPECT_EQ(calls(3), 2U);
  EXPECT_EQ(calls(1), 0U) << "nothing of it was done";
}

TEST_F(GatewayTest, ATransactionThatLostItsLeaseholderIs40001AndIsNeverRepeated) {
  for (const bool broken : {true, false}) {
    ASSERT_TRUE(session_->begin({}).ok());
    EXPECT_EQ(run("INSERT INTO t VALUES(1)"), kFine);
    at(1, broken ? Errc::kUnavailable : Errc::kNotLeaseholder);
    const std::size_t before = calls(1);
    EXPECT_EQ(run("INSERT INTO t VALUES(2)"), Errc::kTransactionLost);
    EXPECT_EQ(calls(1), before + 1);
    EXPECT_EQ(session_->status(), TxnStatus::kFailed);
    EXPECT_EQ(run("SELECT 1"), Errc::kInFailedTransaction);
    const Result<bool> done = await(session_->commit());
    ASSERT_TRUE(done.ok());
    EXPECT_FALSE(*done) << "rolled back instead";
    EXPECT_EQ(nodes_[1].open_channels, 0) << "which rolls back whatever is left there";
    EXPECT_EQ(run("SELECT 1"), kFine);
    session_ = cluster_->open_session();
    ASSERT_TRUE(await(session_->use_database("db")).ok());
  }
}

TEST_F(GatewayTest, ACommitInDoubtIsUnknownAndOneThatWasNeverSentIs40001) {
  ASSERT_TRUE(session_->begin({}).ok());
  EXPECT_EQ(run("INSERT INTO t VALUES(1)"), kFine);
  at(1, Errc::kUnavailable, false);
  EXPECT_EQ(commit(), Errc::kUnknownOutcome);
  EXPECT_EQ(session_->status(), TxnStatus::kIdle);
  ASSERT_TRUE(session_->begin({}).ok());
  EXPECT_EQ(run("INSERT INTO t VALUES(1)"), kFine);
  at(1, Errc::kUnavailable, true);
  EXPECT_EQ(commit(), Errc::kTransactionLost);
  ASSERT_TRUE(session_->begin({}).ok());
  EXPECT_EQ(run("INSERT INTO t VALUES(1)"), kFine);
  at(1, Errc::kForeignKeyViolation);
  EXPECT_EQ(commit(), Errc::kForeignKeyViolation);
}

TEST_F(GatewayTest, AnErrorFailsTheTransactionAndASavepointRevivesIt) {
  EXPECT_EQ(await(session_->savepoint(Session::SavepointAction::kSet, "s")).error().code, Errc::kNoActiveTransaction);
  ASSERT_TRUE(session_->begin({}).ok());
  ASSERT_TRUE(await(session_->savepoint(Session::SavepointAction::kSet, "s")).ok());
  EXPECT_TRUE(nodes_[1].seen[0].run().begin()) << "a savepoint needs a transaction to live in";
  at(1, Errc::kUniqueViolation);
  EXPECT_EQ(run("INSERT INTO t VALUES(1)"), Errc::kUniqueViolation);
  EXPECT_EQ(session_->status(), TxnStatus::kFailed);
  ASSERT_TRUE(await(session_->savepoint(Session::SavepointAction::kRollbackTo, "s")).ok());
  EXPECT_EQ(session_->status(), TxnStatus::kActive);
  session_->fail_transaction();
  EXPECT_EQ(run("SELECT 1"), Errc::kInFailedTransaction);
}

TEST_F(GatewayTest, WaitsForALeaseholderAndGivesUpWithASentence) {
  routes_.update(kRange, std::nullopt);
  auto out = std::make_shared<std::optional<Result<Rows>>>();
  boost::asio::co_spawn(io_, store(session_->run({.sql = "SELECT 1", .tag = "SELECT"}), out), boost::asio::detached);
  io_.poll();
  EXPECT_FALSE(out->has_value());
  lead(2);
  for (int i = 0; i < 100 && !out->has_value(); ++i) io_.run_one_for(50ms);
  ASSERT_TRUE(out->has_value());
  EXPECT_TRUE((*out)->ok());
  routes_.update(kRange, std::nullopt);
  auto late = std::make_shared<std::optional<Result<Rows>>>();
  boost::asio::co_spawn(io_, store(session_->run({.sql = "SELECT 1", .tag = "SELECT"}), late), boost::asio::detached);
  io_.restart();
  io_.poll();
  clock_.advance(31s);
  for (int i = 0; i < 100 && !late->has_value(); ++i) io_.run_one_for(50ms);
  ASSERT_TRUE(late->has_value());
  EXPECT_EQ((*late)->error().code, Errc::kNoLeaseholder);
}

TEST_F(GatewayTest, AStatementForAPartitionThatWasDroppedDoesNotWaitForALeaseholder) {
  auto out = std::make_shared<std::optional<Result<Rows>>>();
  boost::asio::co_spawn(io_, store(session_->run({.sql = "SELECT 1", .tag = "SELECT", .range = RangeId(99)}), out),
                        boost::asio::detached);
  io_.poll();
  EXPECT_FALSE(out->has_value()) << "it may be new";
  clock_.advance(2s);
  for (int i = 0; i < 100 && !out->has_value(); ++i) io_.run_one_for(50ms);
  ASSERT_TRUE(out->has_value());
  EXPECT_EQ((*out)->error().code, Errc::kSerialization);
}

TEST_F(GatewayTest, TheStatementTimeOutAndTheInterruptEndAHeldStatement) {
  routes_.update(kRange, std::nullopt);
  session_->limits().statement_timeout = 2s;
  auto out = std::make_shared<std::optional<Result<Rows>>>();
  boost::asio::co_spawn(io_, store(session_->run({.sql = "SELECT 1", .tag = "SELECT"}), out), boost::asio::detached);
  io_.poll();
  clock_.advance(2s);
  for (int i = 0; i < 100 && !out->has_value(); ++i) io_.run_one_for(50ms);
  ASSERT_TRUE(out->has_value());
  EXPECT_EQ((*out)->error().code, Errc::kDeadline);
  auto held = std::make_shared<std::optional<Result<Rows>>>();
  boost::asio::co_spawn(io_, store(session_->run({.sql = "SELECT 1", .tag = "SELECT"}), held), boost::asio::detached);
  io_.restart();
  io_.poll();
  session_->interrupt();
  for (int i = 0; i < 100 && !held->has_value(); ++i) io_.run_one_for(50ms);
  ASSERT_TRUE(held->has_value());
  EXPECT_EQ((*held)->error().code, Errc::kCancelled);
}

TEST_F(GatewayTest, PortalsDieWithTheirChannel) {
  const Script opens = [](const proto::ExecRequest& request) {
    proto::ExecReply reply = fine(request);
    reply.set_portal(77);
    return reply;
  };
  at(1, opens);
  Result<Rows> rows = await(session_->run({.sql = "SELECT 1", .tag = "SELECT", .max_rows = 1}));
  ASSERT_TRUE(rows.ok());
  at(1, Errc::kUnavailable, false);
  EXPECT_EQ(await(session_->fetch(rows->portal, 1)).error().code, Errc::kSerialization);
  EXPECT_EQ(await(session_->fetch(rows->portal, 1)).error().code, Errc::kUndefinedCursor);
  ASSERT_TRUE(session_->begin({}).ok());
  at(1, opens);
  rows = await(session_->run({.sql = "SELECT 1", .tag = "SELECT", .max_rows = 1}));
  ASSERT_TRUE(rows.ok());
  at(1, Errc::kUnavailable, false);
  EXPECT_EQ(await(session_->fetch(rows->portal, 1)).error().code, Errc::kTransactionLost);
  EXPECT_EQ(session_->status(), TxnStatus::kFailed);
}

TEST_F(GatewayTest, FetchesFromTheLeaseholderThatOpenedThePortal) {
  at(1, [](const proto::ExecRequest& request) {
    proto::ExecReply reply = fine(request);
    reply.set_portal(77);
    reply.set_suspended(true);
    return reply;
  });
  const Result<Rows> rows = await(session_->run({.sql = "SELECT 1", .tag = "SELECT", .max_rows = 1}));
  ASSERT_TRUE(rows.ok());
  EXPECT_TRUE(rows->suspended);
  lead(2);
  EXPECT_EQ(run("SELECT 1", "SELECT"), kFine);
  const Result<Rows> more = await(session_->fetch(rows->portal, 1));
  ASSERT_TRUE(more.ok());
  EXPECT_EQ(nodes_[1].seen.back().fetch().portal(), 77U);
  EXPECT_EQ(more->portal, 0U);
}

TEST_F(GatewayTest, KnowsItsDatabases) {
  EXPECT_EQ(await(session_->use_database("nowhere")).error().code, Errc::kUndefinedDatabase);
  ASSERT_TRUE(session_->begin({}).ok());
  EXPECT_EQ(await(session_->use_database("db")).error().code, Errc::kActiveTransaction);
  await_void(session_->rollback());
  EXPECT_TRUE(await(cluster_->create_database("fresh")).ok());
  EXPECT_EQ(run("SELECT 1", "SELECT"), Errc::kUndefinedDatabase) << "db is gone: only one is known here";
}

TEST(Judge, RepeatsOnlyWhatProvablyDidNothing) {
  EXPECT_EQ(judge({Errc::kNotLeaseholder, true, true, false}), Verdict::kRepeat);
  EXPECT_EQ(judge({Errc::kUnavailable, true, false, false}), Verdict::kRepeat);
  EXPECT_EQ(judge({Errc::kUnavailable, false, false, false}), Verdict::kUnknown);
  EXPECT_EQ(judge({Errc::kUnavailable, false, false, true}), Verdict::kRepeat);
  EXPECT_EQ(judge({Errc::kNotLeaseholder, false, true, false}), Verdict::kUnknown);
  EXPECT_EQ(judge({Errc::kUnknownOutcome, false, true, false}), Verdict::kUnknown);
  EXPECT_EQ(judge({Errc::kUniqueViolation, true, false, false}), Verdict::kGiveUp);
  EXPECT_EQ(judge({Errc::kTransactionLost, true, true, true}), Verdict::kGiveUp);
}

TEST(IsQuery, TrustsOnlyWhatCannotWrite) {
  EXPECT_TRUE(is_query("  select 1", ""));
  EXPECT_TRUE(is_query("VALUES(1)", ""));
  EXPECT_TRUE(is_query("WITH x AS (SELECT 1) SELECT * FROM x", "SELECT"));
  EXPECT_FALSE(is_query("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", "INSERT"));
  EXPECT_FALSE(is_query("selector", ""));
  EXPECT_FALSE(is_query("", ""));
}

}  // namespace
}  // namespace outlast::gateway
