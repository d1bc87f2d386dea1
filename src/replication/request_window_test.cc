#include "replication/request_window.h"

#include <gtest/gtest.h>

namespace outlast::replication {
namespace {
using namespace std::chrono_literals;
using Kind = RequestAnswer::Kind;
using storage::LogPosition;
using storage::RequestOutcome;

constexpr std::uint64_t kGateway = 9;
constexpr Epoch kEpoch{3};

/// Payload "sequence" or "bad".
Result<RequestOutcome> parse(std::string_view payload) {
  if (payload == "bad") return Error(Errc::kCorrupt, "bad");
  return RequestOutcome{kGateway, std::strtoull(std::string(payload).c_str(), nullptr, 10), 1, "INSERT", ""};
}

class RequestWindowTest : public ::testing::Test {
 protected:
  RequestWindowTest() {
    memory_->request_of = parse;
    make({Lsn(10), Epoch(2), 0});
  }
  void make(const LogPosition& end) { window_ = std::make_unique<RequestWindow>(memory_, end, now_); }
  Result<void> assign(std::uint64_t lsn, std::uint64_t sequence, Epoch epoch = kEpoch) {
    return window_->assign({Lsn(lsn), epoch, 0}, {kGateway, sequence, 1, "INSERT", ""}, now_);
  }
  void note(std::uint64_t lsn, const std::string& payload, Epoch epoch = kEpoch) {
    window_->note({{Lsn(lsn), epoch, 0}, {}, payload}, now_);
  }
  RequestWindow::Told ask(std::uint64_t sequence, Epoch addressed = kEpoch, Lsn after = Lsn(), Duration age = 1h) {
    return window_->ask({{kGateway, sequence}, addressed, after, age}, kEpoch, now_);
  }
  Kind kind(std::uint64_t sequence) { return ask(sequence, Epoch(1)).answer.kind; }  // without poisoning

  Instant now_{1h};
  std::shared_ptr<RequestMemory> memory_ = std::make_shared<RequestMemory>();
  std::unique_ptr<RequestWindow> window_;
};

TEST_F(RequestWindowTest, FindsWhatWasAssignedOrNotedWithItsOutcome) {
  ASSERT_TRUE(assign(11, 1).ok());
  note(12, "2");
  const auto told = ask(1);
  EXPECT_EQ(told.answer.kind, Kind::kApplied);
  EXPECT_EQ(told.answer.lsn, Lsn(11));
  EXPECT_EQ(told.answer.outcome.tag, "INSERT");
  EXPECT_EQ(ask(2).answer.lsn, Lsn(12));
  EXPECT_EQ(window_->size(), 2U);
}

TEST_F(RequestWindowTest, WritesWithoutAGatewayAreNotKept) {
  ASSERT_TRUE(window_->assign({Lsn(11), kEpoch, 0}, {}, now_).ok());
  ASSERT_TRUE(window_->assign({Lsn(12), kEpoch, 0}, {}, now_).ok());
  EXPECT_EQ(window_->size(), 0U);
}

TEST_F(RequestWindowTest, AskingPoisonsWhatMayStillCome) {
  EXPECT_TRUE(window_->accepts({kGateway, 1}).ok());
  EXPECT_EQ(ask(1).answer.kind, Kind::kAbsent);
  EXPECT_EQ(window_->accepts({kGateway, 1}).error().code, Errc::kStaleEpoch);
  EXPECT_EQ(assign(11, 1).error().code, Errc::kStaleEpoch) << "past its entry";
  EXPECT_TRUE(assign(11, 2).ok());
  EXPECT_EQ(ask(1).answer.kind, Kind::kAbsent) << "the same answer for ever";
}

TEST_F(RequestWindowTest, AskingAboutAnEarlierEpochPoisonsNothing) {
  EXPECT_EQ(ask(1, Epoch(2)).answer.kind, Kind::kAbsent);
  EXPECT_TRUE(window_->accepts({kGateway, 1}).ok()) << "its epoch refuses it";
}

TEST_F(RequestWindowTest, AnIdIsCommittedOnce) {
  ASSERT_TRUE(assign(11, 1).ok());
  EXPECT_EQ(assign(12, 1).error().code, Errc::kInvalidState);
}

TEST_F(RequestWindowTest, ACutEntryIsNotAnsweredAnyMore) {
  note(11, "1");
  note(12, "2");
  window_->cut(Lsn(11));
  EXPECT_EQ(kind(1), Kind::kApplied);
  EXPECT_EQ(kind(2), Kind::kAbsent);
  note(12, "3", Epoch(4));
  EXPECT_EQ(kind(3), Kind::kApplied);
}

TEST_F(RequestWindowTest, AnEntryThatComesAgainReplacesWhatStoodThere) {
  note(11, "1");
  note(12, "2");
  note(11, "3", Epoch(4));
  EXPECT_EQ(kind(1), Kind::kAbsent);
  EXPECT_EQ(kind(2), Kind::kAbsent);
  EXPECT_EQ(kind(3), Kind::kApplied);
}

TEST_F(RequestWindowTest, IsCertainOnlyOfWhatLiesAboveTheForgotten) {
  EXPECT_TRUE(ask(1, kEpoch).answer.certain) << "memory began before this epoch";
  EXPECT_FALSE(ask(2, Epoch(2)).answer.certain) << "the log holds entries of that epoch that memory does not";
  EXPECT_FALSE(ask(3, Epoch(1)).answer.certain);
  EXPECT_TRUE(ask(4, Epoch(2), Lsn(10)).answer.certain) << "it was sent after LSN 10 was durable";
  EXPECT_FALSE(ask(5, Epoch(2), Lsn(9)).answer.certain);
}

TEST_F(RequestWindowTest, ForgetsAfterTheWindowAndSaysHowFarBackItRemembers) {
  ASSERT_TRUE(assign(11, 1).ok());
  now_ += 119s;
  ASSERT_TRUE(assign(12, 2).ok());
  EXPECT_EQ(kind(1), Kind::kApplied);
  now_ += 1s;
  ASSERT_TRUE(assign(13, 3).ok());
  const auto told = ask(1);
  EXPECT_EQ(told.answer.kind, Kind::kAbsent);
  EXPECT_FALSE(told.answer.certain);
  EXPECT_EQ(told.answer.covered, 120s);
  EXPECT_FALSE(certainly_not_applied(told.answer, 120s)) << "it may have been the one that was forgotten";
  EXPECT_TRUE(certainly_not_applied(told.answer, 100s));
  EXPECT_EQ(kind(2), Kind::kApplied);
  EXPECT_TRUE(ask(7, kEpoch, Lsn(11)).answer.certain);
}

TEST_F(RequestWindowTest, ForgetsTheOldestWhenMemoryIsShort) {
  memory_->bytes_max = 2000;
  for (std::uint64_t i = 1; i <= 100; ++i) ASSERT_TRUE(assign(10 + i, i).ok());
  EXPECT_LT(window_->size(), 20U);
  EXPECT_EQ(kind(100), Kind::kApplied);
  EXPECT_FALSE(ask(1).answer.certain);
  EXPECT_LE(memory_->bytes, 2000U);
  window_.reset();
  EXPECT_EQ(memory_->bytes, 0U);
}

TEST_F(RequestWindowTest, AnIdleRangeMakesRoomForOthersOnceItsTimeIsOver) {
  for (std::uint64_t i = 1; i <= 50; ++i) ASSERT_TRUE(assign(10 + i, i).ok());
  RequestWindow busy(memory_, {}, now_);
  memory_->bytes_max = memory_->bytes;
  now_ += 121s;
  for (std::uint64_t i = 1; i <= 10; ++i)
    ASSERT_TRUE(busy.assign({Lsn(i), kEpoch, 0}, {kGateway, 1000 + i, 1, "INSERT", ""}, now_).ok());
  EXPECT_EQ(window_->size(), 0U);
  EXPECT_EQ(busy.size(), 10U);
}

TEST_F(RequestWindowTest, RemembersAgainWhatTheLogHolds) {
  now_ += 10s;
  const auto before = ask(5, Epoch(2));
  EXPECT_TRUE(before.older_may_tell);
  EXPECT_FALSE(ask(5, Epoch(2), Lsn(), 0s).older_may_tell) << "memory covers what is so young";
  window_->fill({Lsn(4), Epoch(1), 0}, Lsn(10),
                {{{Lsn(5), Epoch(2), 0}, {kGateway, 5, 1, "INSERT", ""}},
                 {{Lsn(9), Epoch(2), 0}, {kGateway, 9, 1, "INSERT", ""}},
                 {{Lsn(11), kEpoch, 0}, {kGateway, 11, 1, "INSERT", ""}}},
                now_);
  EXPECT_EQ(kind(5), Kind::kApplied);
  EXPECT_EQ(kind(9), Kind::kApplied);
  EXPECT_EQ(kind(11), Kind::kAbsent) << "above what was forgotten memory itself knows";
  EXPECT_TRUE(ask(6, Epoch(2)).answer.certain) << "all entries of epoch 2 are known now";
  EXPECT_FALSE(ask(7, Epoch(1)).answer.certain) << "the log begins within epoch 1";
  EXPECT_TRUE(ask(7, Epoch(1), Lsn(4)).answer.certain);
  EXPECT_FALSE(ask(7, Epoch(1)).older_may_tell) << "not at once again";
}

TEST_F(RequestWindowTest, AFillThatLeavesAGapIsIgnored) {
  window_->fill({Lsn(4), Epoch(1), 0}, Lsn(9), {{{Lsn(5), Epoch(2), 0}, {kGateway, 5, 1, "INSERT", ""}}}, now_);
  EXPECT_EQ(kind(5), Kind::kAbsent);
  EXPECT_EQ(window_->forgotten().lsn, Lsn(10));
}

TEST_F(RequestWindowTest, AFillBeyondTheMemoryKeepsTheNewestAndSaysSo) {
  memory_->bytes_max = 600;
  std::vector<RequestWindow::Entry> older;
  for (std::uint64_t i = 1; i <= 10; ++i) older.push_back({{Lsn(i), Epoch(2), 0}, {kGateway, i, 1, "INSERT", ""}});
  window_->fill({}, Lsn(10), older, now_);
  EXPECT_EQ(kind(10), Kind::kApplied);
  EXPECT_EQ(kind(1), Kind::kAbsent);
  EXPECT_GT(window_->forgotten().lsn, Lsn(1));
  EXPECT_LT(window_->forgotten().lsn, Lsn(10));
}

TEST_F(RequestWindowTest, AnEntryThatCannotBeReadForgetsEverythingUpToIt) {
  note(11, "1");
  note(12, "bad");
  EXPECT_EQ(kind(1), Kind::kAbsent);
  EXPECT_FALSE(ask(1, kEpoch).answer.certain);
  EXPECT_EQ(window_->forgotten().lsn, Lsn(12));
}

TEST(GatewayNumber, DiffersForEveryProcessOfEveryNode) {
  EXPECT_NE(gateway_number(NodeId(1), Incarnation(2)), gateway_number(NodeId(2), Incarnation(2)));
  EXPECT_NE(gateway_number(NodeId(1), Incarnation(2)), gateway_number(NodeId(1), Incarnation(3)));
  EXPECT_NE(gateway_number(NodeId(1), Incarnation(0)), 0U);
}

}  // namespace
}  // namespace outlast::replication
