#include "replication/lease_mover.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace outlast::replication {
namespace {

constexpr NodeId kN1{1}, kN2{2}, kN3{3};

class LeaseMoverTest : public ::testing::Test {
 protected:
  using Lease = LeaseMover::Lease;
  struct Asked {
    RangeId range;
    NodeId target;
    Callback<void> done;
  };
  std::shared_ptr<LeaseMover> begin(std::vector<Lease> leases, LeaseTransferOptions options = {}) {
    LeaseMover::Ports ports;
    ports.targets = [this](RangeId range) -> std::optional<std::vector<NodeId>> {
      if (gone_.contains(range)) return std::nullopt;
      return targets_;
    };
    ports.transfer = [this](RangeId range, NodeId target, Callback<void> done) {
      asked_.push_back({range, target, std::move(done)});
      at_once_seen_ = std::max(at_once_seen_, asked_.size() - answered_);
    };
    ports.post = [this](Task task) { tasks_.push_back(std::move(task)); };
    auto mover = std::make_shared<LeaseMover>(std::move(leases), std::move(options), std::move(ports),
                                              [this](Result<LeaseTransferProgress> p) { done_ = *std::move(p); });
    mover->start();
    return mover;
  }
  /// The next transfer that nobody answered yet ends.
  void answer(Result<void> result = {}) {
    Asked& asked = asked_.at(answered_++);
    std::exchange(asked.done, nullptr)(std::move(result));
    for (auto& task : std::exchange(tasks_, {})) task();
  }
  void answer_all() {
    while (answered_ < asked_.size()) answer();
  }

  std::vector<NodeId> targets_{kN2, kN3};
  std::set<RangeId> gone_;
  std::deque<Asked> asked_;
  std::size_t answered_{0}, at_once_seen_{0};
  std::vector<Task> tasks_;
  std::optional<LeaseTransferProgress> done_;
};

TEST_F(LeaseMoverTest, MovesTheHottestFirst) {
  begin({{RangeId(1), 0.5}, {RangeId(2), 90}, {RangeId(3), 7}}, {.at_once = 1});
  answer_all();
  ASSERT_TRUE(done_);
  EXPECT_EQ(asked_.at(0).range, RangeId(2));
  EXPECT_EQ(asked_.at(1).range, RangeId(3));
  EXPECT_EQ(asked_.at(2).range, RangeId(1));
  EXPECT_EQ(done_->moved, 3U);
  EXPECT_EQ(done_->remaining, 0U);
}

TEST_F(LeaseMoverTest, NeverHasMoreUnderWayThanAllowed) {
  std::vector<Lease> leases;
  for (std::uint64_t i = 1; i <= 100; ++i) leases.push_back({RangeId(i)});
  const auto mover = begin(leases);
  EXPECT_EQ(asked_.size(), 32U);
  EXPECT_EQ(mover->progress().remaining, 100U);
  answer_all();
  EXPECT_EQ(at_once_seen_, 32U);
  EXPECT_EQ(done_->moved, 100U);
}

TEST_F(LeaseMoverTest, EvensOutTheLoadOfTheTargets) {
  std::vector<Lease> leases;
  for (std::uint64_t i = 1; i <= 10; ++i) leases.push_back({RangeId(i)});
  begin(leases, {.leases = {{kN1, 10}, {kN2, 6}, {kN3, 0}}});
  answer_all();
  EXPECT_EQ(std::ranges::count(asked_, kN3, &Asked::target), 8);
  EXPECT_EQ(std::ranges::count(asked_, kN2, &Asked::target), 2);
}

TEST_F(LeaseMoverTest, KeepsToTheNamedTargetAndAvoidsWhoDrains) {
  targets_ = {kN1, kN2, kN3};
  begin({{RangeId(1)}}, {.to = kN3, .leases = {{kN3, 100}}});
  EXPECT_EQ(asked_.at(0).target, kN3);
  begin({{RangeId(2)}}, {.avoid = {kN1, kN2}, .leases = {{kN3, 100}}});
  EXPECT_EQ(asked_.at(1).target, kN3);
}

TEST_F(LeaseMoverTest, TriesElsewhereAndNamesWhatCouldNotMove) {
  begin({{RangeId(1)}, {RangeId(2)}}, {.at_once = 1});
  answer(Error(Errc::kUnavailable, "first"));
  answer(Error(Errc::kDeadline, "second"));  // the same range, at the other node
  EXPECT_NE(asked_.at(0).target, asked_.at(1).target);
  answer();
  ASSERT_TRUE(done_);
  EXPECT_EQ(done_->moved, 1U);
  ASSERT_EQ(done_->failed.size(), 1U);
  EXPECT_EQ(done_->failed[0].range, RangeId(1));
  EXPECT_EQ(done_->failed[0].target, asked_.at(1).target);
  EXPECT_EQ(done_->failed[0].why.message, "second");
}

TEST_F(LeaseMoverTest, AfterAnotherMoveItLooksAgain) {
  begin({{RangeId(1)}, {RangeId(2)}}, {.at_once = 1});
  const NodeId first = asked_.at(0).target;
  answer(Error(Errc::kMoving, "another move has ended"));
  EXPECT_EQ(asked_.at(1).range, RangeId(1)) << "it is still here";
  EXPECT_EQ(asked_.at(1).target, first) << "nobody has failed to take it";
  gone_ = {RangeId(1)};
  answer(Error(Errc::kMoving, "another move has ended"));  // and took it away
  answer();
  ASSERT_TRUE(done_);
  EXPECT_EQ(done_->moved, 1U);
  EXPECT_EQ(done_->remaining, 0U);
  EXPECT_TRUE(done_->failed.empty());
}

TEST_F(LeaseMoverTest, NamesRangesThatNobodyElseHoldsAndPassesOverWhatLeft) {
  targets_ = {};
  gone_ = {RangeId(2)};
  begin({{RangeId(1)}, {RangeId(2)}});
  ASSERT_TRUE(done_);
  ASSERT_EQ(done_->failed.size(), 1U);
  EXPECT_EQ(done_->failed[0].range, RangeId(1));
  EXPECT_EQ(done_->failed[0].target, NodeId());
  EXPECT_EQ(done_->remaining, 0U);
}

TEST_F(LeaseMoverTest, AStopWaitsForNothing) {
  const auto mover = begin({{RangeId(1)}, {RangeId(2)}, {RangeId(3)}}, {.at_once = 1});
  answer();
  mover->stop();
  ASSERT_TRUE(done_);
  EXPECT_EQ(done_->moved, 1U);
  EXPECT_EQ(done_->remaining, 2U);
  answer();
  EXPECT_EQ(asked_.size(), 2U) << "begins nothing afterwards";
}

}  // namespace
}  // namespace outlast::replication
