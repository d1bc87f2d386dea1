// Writes whose answer got lost: what the gateway asks, and what it tells the client.
#include "executor/row_batch.h"
#include "gateway/retry.h"
#include "gateway/testing/fixture.h"

namespace outlast::gateway {
namespace {
using namespace std::chrono_literals;
using namespace testing;  // NOLINT: the fixture

proto::ExecReply applied(std::int64_t changes = 1) {
  proto::ExecReply reply;
  reply.set_changes(changes);
  reply.mutable_resolved()->set_state(proto::Resolved::APPLIED);
  return reply;
}
proto::ExecReply absent(bool certain, std::chrono::milliseconds covered = 0ms) {
  proto::ExecReply reply;
  reply.mutable_resolved()->set_state(proto::Resolved::ABSENT);
  reply.mutable_resolved()->set_certain(certain);
  reply.mutable_resolved()->set_covered_ms(static_cast<std::uint64_t>(covered.count()));
  return reply;
}
/// An applied write that returned the numbers 1 to `rows`.
proto::ExecReply applied_with_rows(int rows) {
  proto::ExecReply reply = applied(rows);
  reply.add_columns()->set_name("id");
  executor::RowWriter writer;
  for (int i = 1; i <= rows; ++i) writer.integer(i);
  reply.set_rows(writer.take());
  return reply;
}

class ResolveTest : public GatewayTest {
 protected:
  void answers(std::uint32_t node, proto::ExecReply reply) {
    at(node, [reply = std::move(reply)](const proto::ExecRequest& request) {
      EXPECT_TRUE(request.has_resolve()) << request.ShortDebugString();
      return reply;
    });
  }
  void loses_the_answer(std::uint32_t node) { at(node, Errc::kUnavailable, false); }
  Result<Rows> insert(std::uint64_t max_rows = 0) {
    return await(session_->run({.sql = "INSERT INTO t VALUES(1)", .tag = "INSERT", .max_rows = max_rows}));
  }
  void open_transaction() {
    ASSERT_TRUE(session_->begin({}).ok());
    ASSERT_EQ(run("INSERT INTO t VALUES(1)"), kFine);
  }
  const GatewayCounters& counters() { return cluster_->counters(); }
};

TEST_F(ResolveTest, AWriteThatWasAppliedSucceedsWithItsOutcome) {
  loses_the_answer(1);
  answers(1, applied(3));
  const Result<Rows> rows = insert();
  ASSERT_TRUE(rows.ok()) << rows.error().message;
  EXPECT_EQ(rows->changes, 3);
  ASSERT_EQ(calls(1), 2U);
  const auto& seen = nodes_[1].seen;
  EXPECT_EQ(seen[1].resolve().request_id(), seen[0].run().request_id());
  EXPECT_EQ(seen[1].resolve().addressed_epoch(), seen[0].epoch());
  EXPECT_EQ(counters().resolved_done, 1U);
  EXPECT_EQ(counters().unknown, 0U);
  EXPECT_EQ(session_->status(), TxnStatus::kIdle);
}

TEST_F(ResolveTest, AWriteThatWasNotAppliedRunsAgainUnderANewIdAndTheClientSeesNothing) {
  loses_the_answer(1);
  answers(1, absent(true));
  EXPECT_TRUE(insert().ok());
  const auto& seen = nodes_[1].seen;
  ASSERT_EQ(seen.size(), 3U);
  ASSERT_TRUE(seen[2].has_run());
  EXPECT_EQ(seen[2].run().sql(), seen[0].run().sql());
  EXPECT_NE(seen[2].run().request_id(), seen[0].run().request_id());
  EXPECT_EQ(counters().resolved_not_applied, 1U);
  EXPECT_EQ(counters().repeated_unseen, 1U);
}

TEST_F(ResolveTest, AsksTheNewLeaseholderAboutTheOldEpoch) {
  at(1, [this](const auto&) {
    lead(2);
    return refuse(Errc::kUnavailable, false);
  });
  answers(2, applied());
  EXPECT_TRUE(insert().ok());
  ASSERT_EQ(calls(2), 1U);
  EXPECT_EQ(nodes_[2].seen[0].epoch(), 2U);
  EXPECT_EQ(nodes_[2].seen[0].resolve().addressed_epoch(), 1U);
  EXPECT_EQ(run("INSERT INTO t VALUES(2)"), kFine) << "and goes on there";
  EXPECT_EQ(calls(2), 2U);
}

TEST_F(ResolveTest, AsksAlsoWhenTheLeaseholderItselfCouldNotTell) {
  at(1, Errc::kUnknownOutcome, false);
  answers(1, applied());
  EXPECT_TRUE(insert().ok());
}

TEST_F(ResolveTest, TellsWhatWasDurableBeforeTheWriteInTheSameEpoch) {
  at(1, [](const auto& request) {
    proto::ExecReply reply = fine(request);
    reply.set_lsn(17);
    return reply;
  });
  EXPECT_TRUE(insert().ok());
  loses_the_answer(1);
  answers(1, applied());
  EXPECT_TRUE(insert().ok());
  EXPECT_EQ(nodes_[1].seen.back().resolve().after_lsn(), 17U);
  lead(2);
  loses_the_answer(2);
  answers(2, applied());
  EXPECT_TRUE(insert().ok());
  EXPECT_EQ(nodes_[2].seen.back().resolve().after_lsn(), 0U) << "of another epoch";
}

TEST_F(ResolveTest, AsksAgainUntilSomebodyKnows) {
  loses_the_answer(1);
  at(1, Errc::kNotLeaseholder);
  at(1, Errc::kRangeUnavailable);
  loses_the_answer(1);
  answers(1, applied());
  EXPECT_TRUE(insert().ok());
  EXPECT_EQ(calls(1), 5U);
}

TEST_F(ResolveTest, IsUnknownWhenNobodyAnswersWithinTheTimeout) {
  loses_the_answer(1);
  at(1, [this](const auto&) {
    clock_.advance(31s);
    return refuse(Errc::kNotLeaseholder);
  });
  EXPECT_EQ(insert().error().code, Errc::kUnknownOutcome);
  EXPECT_EQ(calls(1), 2U) << "and is not run again";
  EXPECT_EQ(counters().unknown, 1U);
  EXPECT_EQ(session_->status(), TxnStatus::kIdle) << "the session lives on";
  EXPECT_TRUE(insert().ok());
}

TEST_F(ResolveTest, TheStatementsDeadlineEndsTheAskingToo) {
  session_->limits().statement_timeout = 5s;
  loses_the_answer(1);
  at(1, [this](const auto&) {
    clock_.advance(6s);
    return refuse(Errc::kNotLeaseholder);
  });
  EXPECT_EQ(insert().error().code, Errc::kUnknownOutcome) << "never 57014: that would say that nothing was applied";
}

TEST_F(ResolveTest, ACancelRequestEndsTheAskingAsUnknown) {
  loses_the_answer(1);
  at(1, [this](const auto&) {
    session_->interrupt();
    return refuse(Errc::kCancelled);
  });
  EXPECT_EQ(insert().error().code, Errc::kUnknownOutcome);
}

TEST_F(ResolveTest, TrustsAnUncertainNoOnlyWithinTheTimeThatItCovers) {
  loses_the_answer(1);
  at(1, [this](const auto&) {
    clock_.advance(8s);
    return absent(false, 10s);
  });
  EXPECT_TRUE(insert().ok());
  EXPECT_EQ(calls(1), 3U);
  loses_the_answer(1);
  at(1, [this](const auto&) {
    clock_.advance(9500ms);
    return absent(false, 10s);
  });
  EXPECT_EQ(insert().error().code, Errc::kUnknownOutcome) << "clock rates may differ";
  EXPECT_EQ(calls(1), 5U);
}

TEST_F(ResolveTest, AnOlderProgramThatDoesNotKnowTheQuestionLeavesItOpen) {
  loses_the_answer(1);
  at(1, Errc::kProtocolViolation);
  EXPECT_EQ(insert().error().code, Errc::kUnknownOutcome);
  EXPECT_EQ(calls(1), 2U);
}

TEST_F(ResolveTest, GivesBackTheRowsOfReturning) {
  loses_the_answer(1);
  answers(1, applied_with_rows(3));
  const Result<Rows> rows = insert();
  ASSERT_TRUE(rows.ok());
  ASSERT_EQ(rows->columns.size(), 1U);
  EXPECT_EQ(rows->columns[0].name, "id");
  EXPECT_EQ(rows->bytes, applied_with_rows(3).rows());
  EXPECT_EQ(rows->portal, 0U);
}

TEST_F(ResolveTest, SaysThatRowsAreLostRatherThanReturnNone) {
  proto::ExecReply lost = applied(500);
  lost.mutable_resolved()->set_rows_lost(true);
  loses_the_answer(1);
  answers(1, lost);
  const Result<Rows> rows = insert();
  ASSERT_FALSE(rows.ok());
  EXPECT_EQ(rows.error().code, Errc::kUnknownOutcome);
  EXPECT_NE(rows.error().message.find("was applied and changed 500 rows"), std::string::npos) << rows.error().message;
  loses_the_answer(1);
  answers(1, applied_with_rows(3));
  EXPECT_EQ(insert(3).error().code, Errc::kUnknownOutcome) << "the rest of a portal has no place any more";
  loses_the_answer(1);
  answers(1, applied_with_rows(3));
  EXPECT_TRUE(insert(4).ok());
}

TEST_F(ResolveTest, ACommitThatWasAppliedSucceeds) {
  ASSERT_NO_FATAL_FAILURE(open_transaction());
  loses_the_answer(1);
  answers(1, applied());
  EXPECT_EQ(commit(), kFine);
  EXPECT_EQ(nodes_[1].seen.back().resolve().request_id(), nodes_[1].seen[1].commit().request_id());
  EXPECT_EQ(session_->status(), TxnStatus::kIdle);
}

TEST_F(ResolveTest, ACommitThatWasNotAppliedIs40001AndIsNotRunAgain) {
  ASSERT_NO_FATAL_FAILURE(open_transaction());
  loses_the_answer(1);
  answers(1, absent(true));
  EXPECT_EQ(commit(), Errc::kTransactionLost);
  EXPECT_EQ(calls(1), 3U);
  EXPECT_EQ(counters().resolved_not_applied, 1U);
}

TEST_F(ResolveTest, ACommitThatNobodyCanTellAboutIsUnknown) {
  ASSERT_NO_FATAL_FAILURE(open_transaction());
  loses_the_answer(1);
  answers(1, absent(false));
  EXPECT_EQ(commit(), Errc::kUnknownOutcome);
  EXPECT_EQ(counters().unknown, 1U);
}

TEST(JudgeAnswer, ReadsEveryAnswer) {
  EXPECT_EQ(judge_answer(applied(), 1h), Resolution::kApplied);
  EXPECT_EQ(judge_answer(absent(true), 1h), Resolution::kNotApplied);
  EXPECT_EQ(judge_answer(absent(false, 10s), 8999ms), Resolution::kNotApplied);
  EXPECT_EQ(judge_answer(absent(false, 10s), 9s), Resolution::kUnknown);
  EXPECT_EQ(judge_answer(absent(false), 0s), Resolution::kUnknown);
  EXPECT_EQ(judge_answer(proto::ExecReply(), 0s), Resolution::kUnknown);
  EXPECT_EQ(judge_answer(refuse(Errc::kMoving), 0s), Resolution::kAskAgain);
  EXPECT_EQ(judge_answer(refuse(Errc::kProtocolViolation), 0s), Resolution::kUnknown);
  proto::ExecReply absurd = absent(false);
  absurd.mutable_resolved()->set_covered_ms(~0ULL);
  EXPECT_EQ(judge_answer(absurd, 1s), Resolution::kNotApplied) << "no overflow";
}

}  // namespace
}  // namespace outlast::gateway
