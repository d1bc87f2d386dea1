#include "placement/mover.h"

#include <gtest/gtest.h>

#include "placement/replication_factor.h"
#include "placement/testing/views.h"

namespace outlast::placement {
namespace {
using namespace std::chrono_literals;
using testing::cluster_of;
using testing::range_on;
using Kind = Step::Kind;
using Steps = std::vector<Step>;
constexpr NodeId kN1(1), kN4(4);

class MoverTest : public ::testing::Test {  // node 1 leaves, or what a test says
 protected:
  Steps after(Duration wait) { return mover_.next(now_ += wait, view_, leaving_, random_); }
  /// The step is taken, and the next view shows it.
  void take(const Step& step) {
    RangeConfig& config = view_.ranges.at(step.range.value - 1);
    if (step.kind == Kind::kAddReplica) config = add_learner(config, step.node, "s" + step.node.to_string()).value();
    if (step.kind == Kind::kTransferLease) config = transfer_lease(config, step.node, Incarnation(1)).value();
    if (step.kind == Kind::kReduceReplication) config = reduce_replication(config, step.node, step.rf).value();
    if (step.kind == Kind::kRemoveReplica) {
      if (config.find_insync(step.node) != nullptr) config = remove_backup(config, step.node).value();
      config = remove_learner(config, step.node).value();
    }
    mover_.answered(step, {}, now_);
  }
  void promote(NodeId node) {
    RangeConfig& config = view_.ranges.at(0);
    config = promote_learner(config, node, "s" + node.to_string(), config.rf).value();
  }
  BlockReason waits_for() const { return mover_.state().waiting.at(0).reason; }

  Instant now_{1h};
  ClusterView view_ = cluster_of(4);
  std::vector<NodeId> leaving_{kN1};
  SeededRandom random_{3};
  Mover mover_{{}};
};

TEST_F(MoverTest, LearnerThenInSyncThenLeaseThenOut) {
  view_.ranges = {range_on(1, {1, 2, 3}, 100)};
  EXPECT_EQ(after(0s), (Steps{{Kind::kAddReplica, RangeId(1), kN4, 3}}));
  EXPECT_TRUE(after(1s).empty()) << "one step at a time";
  take({Kind::kAddReplica, RangeId(1), kN4, 3});
  EXPECT_TRUE(after(1s).empty());
  EXPECT_EQ(waits_for(), BlockReason::kCopying);
  EXPECT_EQ(mover_.state().bytes_left, 100U);
  promote(kN4);
  const Steps lease = after(1s);
  ASSERT_EQ(lease.size(), 1U);
  EXPECT_EQ(lease[0].kind, Kind::kTransferLease);
  take(lease[0]);
  EXPECT_EQ(after(1s), (Steps{{Kind::kRemoveReplica, RangeId(1), kN1, 3}}));
  take({Kind::kRemoveReplica, RangeId(1), kN1, 3});
  EXPECT_TRUE(after(1s).empty());
  EXPECT_EQ(mover_.state().replicas_left, 1U) << "its data is still there";
  EXPECT_EQ(waits_for(), BlockReason::kDeletion);
  view_.ranges[0].removed.clear();
  after(1s);
  EXPECT_EQ(mover_.state().replicas_left, 0U);
}

TEST_F(MoverTest, NothingLeavesWhileAMemberThatStaysIsSilent) {
  view_.ranges = {range_on(1, {2, 1, 3, 4}, 100)};
  view_.ranges[0].rf = 3;
  view_.nodes[2].health = NodeView::Health::kSuspect;
  EXPECT_TRUE(after(0s).empty());
  EXPECT_EQ(waits_for(), BlockReason::kSilentMember);
  view_.nodes[2].health = NodeView::Health::kLive;
  view_.nodes[2].draining = true;
  EXPECT_EQ(after(1s).at(0).kind, Kind::kRemoveReplica) << "a draining member answers";
}

TEST_F(MoverTest, WaitsUntilTheViewShowsAStepThatWasTaken) {
  view_.ranges = {range_on(1, {1, 2, 3}, 100)};
  const Step add = after(0s).at(0);
  mover_.answered(add, {}, now_);
  EXPECT_TRUE(after(20ms).empty()) << "the view is older than the answer";
  EXPECT_EQ(mover_.state().under_way, 1U);
  take(add);
  promote(kN4);
  const Step lease = after(0s).at(0);
  EXPECT_EQ(lease.kind, Kind::kTransferLease);
  mover_.answered(lease, {}, now_);
  EXPECT_TRUE(after(20ms).empty());
  EXPECT_EQ(after(2s), Steps{lease}) << "as if it had never been taken";
}

TEST_F(MoverTest, AnotherTargetWhenOneDiesOrRefuses) {
  view_ = cluster_of(5);
  view_.ranges = {range_on(1, {1, 2, 3}, 100)};
  const Step first = after(0s).at(0);
  mover_.answered(first, Error(Errc::kUnavailable, "it does not answer"), now_);
  EXPECT_TRUE(after(0s).empty());
  EXPECT_EQ(waits_for(), BlockReason::kRefused);
  const Step second = after(2s).at(0);
  EXPECT_NE(second.node, first.node);
  take(second);
  view_.nodes[second.node.value - 1].health = NodeView::Health::kDead;
  EXPECT_EQ(after(1s), (Steps{{Kind::kRemoveReplica, RangeId(1), second.node, 3}}));
}

TEST_F(MoverTest, WhatIsRefusedIsAskedAgainSoonAndThenLessAndLessOften) {
  view_.ranges = {range_on(1, {1, 2, 3}, 100)};
  take(after(0s).at(0));
  promote(kN4);
  std::vector<Duration> rests;
  for (int i = 0; i < 12; ++i) {
    const Steps steps = after(0s);
    ASSERT_EQ(steps.size(), 1U) << i;
    mover_.answered(steps[0], Error(Errc::kNotLeaseholder, "it has not heard of it yet"), now_);
    EXPECT_TRUE(after(0s).empty());
    ASSERT_TRUE(mover_.state().ask_again);
    rests.push_back(*mover_.state().ask_again - now_);
    now_ = *mover_.state().ask_again;
  }
  EXPECT_EQ(rests.front(), 5ms);
  EXPECT_EQ(rests[1], 10ms);
  EXPECT_EQ(rests.back(), 1s);
  const Step lease = after(0s).at(0);
  take(lease);
  mover_.answered(after(0s).at(0), Error(Errc::kNotLeaseholder, "nor of that"), now_);
  after(0s);
  EXPECT_EQ(*mover_.state().ask_again, now_ + 5ms);
}

TEST_F(MoverTest, ALearnerWithoutAByteGoesElsewhereAndThenTheSourceDoes) {
  view_ = cluster_of(5);
  view_.ranges = {range_on(1, {1, 2, 3}, 100)};
  const Step first = after(0s).at(0);
  take(first);
  after(0s);
  EXPECT_TRUE(after(3s).empty());
  EXPECT_EQ(after(1s), (Steps{{Kind::kRemoveReplica, RangeId(1), first.node, 3}}));
  take({Kind::kRemoveReplica, RangeId(1), first.node, 3});
  const Step second = after(1s).at(0);
  EXPECT_NE(second.node, first.node);
  take(second);
  after(0s);
  const Steps source = after(4s);  // there is no third node, and the first failed a moment ago
  ASSERT_EQ(source.size(), 1U);
  EXPECT_EQ(source[0].kind, Kind::kTransferLease);
}

TEST_F(MoverTest, ALearnerThatWaitsForItsSenderIsLetBeUntilNothingElseMoves) {
  view_ = cluster_of(5);
  view_.ranges = {range_on(1, {1, 2, 3}, 100)};
  const Step added = after(0s).at(0);
  take(added);
  view_.ranges[0].received = {{added.node, 0, true}};
  for (int i = 0; i < 60; ++i) EXPECT_TRUE(after(1s).empty());
  mover_.try_another_way();
  EXPECT_EQ(after(1s), (Steps{{Kind::kRemoveReplica, RangeId(1), added.node, 3}}));
}

TEST_F(MoverTest, CopiesThatStandInLineGoFromWhoeverHasLessToSend) {
  view_.ranges.clear();
  for (std::uint64_t id = 1; id <= 7; ++id) view_.ranges.push_back(range_on(id, {2, 1, 3}, 100));
  for (const Step& step : after(0s)) take(step);
  // Node 2 leads them all: of one the copy has begun, the others wait for it.
  for (RangeView& range : view_.ranges) range.received = {{kN4, 0, true}};
  view_.ranges[0].received = {{kN4, 50, false}};
  after(0s);
  EXPECT_TRUE(after(1s).empty()) << "it may be a moment only";
  const Steps shared = after(1s);
  ASSERT_EQ(shared.size(), 4U);
  for (const Step& step : shared) {
    EXPECT_EQ(step.kind, Kind::kTransferLease);
    EXPECT_NE(step.range, RangeId(1));
    take(step);
  }
  EXPECT_TRUE(after(1s).empty()) << "nothing goes back";
  ASSERT_EQ(mover_.state().senders.size(), 3U) << "node 1 leaves, and sends until its replicas have left";
  EXPECT_EQ(mover_.state().senders[0].bytes_left, 200U);
  EXPECT_EQ(mover_.state().senders[1].bytes_left, 250U);
  EXPECT_EQ(mover_.state().senders[2].bytes_left, 200U);
}

TEST_F(MoverTest, ANodeThatLeavesSendsForOneThatHasMoreButNotWhileItDrains) {
  view_.nodes[0].draining = true;
  view_.nodes[2].exiting = true;
  view_.ranges.clear();
  for (std::uint64_t id = 1; id <= 4; ++id) view_.ranges.push_back(range_on(id, {2, 1, 3}, 100));
  leaving_ = {kN1, NodeId(3)};
  view_.nodes.push_back(testing::node_at(5));
  for (int i = 0; i < 2; ++i)
    for (const Step& step : after(0s)) take(step);
  for (RangeView& range : view_.ranges) range.received = {{kN4, 0, true}, {NodeId(5), 0, true}};
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(after(1s).empty());
  view_.nodes[2].exiting = false;
  const Steps shared = after(1s);
  EXPECT_EQ(shared.size(), 2U);
  for (const Step& step : shared) EXPECT_EQ(step.node, NodeId(3));
}

TEST_F(MoverTest, ALearnerIsGivenTimeAgainWhenAnotherLeaseholderBegins) {
  view_ = cluster_of(5);
  view_.ranges = {range_on(1, {1, 2, 3}, 100)};
  const Step added = after(0s).at(0);
  take(added);
  view_.ranges[0].received = {{added.node, 50}};
  after(0s);
  EXPECT_TRUE(after(3s).empty());
  ++view_.ranges[0].epoch.value;
  EXPECT_TRUE(after(3s).empty());
  EXPECT_TRUE(after(3s).empty());
  EXPECT_FALSE(after(1s).empty());
}

TEST_F(MoverTest, NodesOfAnotherTaskAreNoTargetDoNotStayAndAreNotCounted) {
  view_ = cluster_of(6);
  view_.ranges = {range_on(1, {1, 2, 3}, 100), range_on(2, {2, 3, 4}, 100)};
  const std::vector<NodeId> others{NodeId(2)};
  const auto next = [&] { return mover_.next(now_ += 1s, view_, leaving_, random_, others); };
  const Step first = next().at(0);
  EXPECT_EQ(first.range, RangeId(1)) << "range 2 is the other task's alone";
  EXPECT_EQ(first.kind, Kind::kAddReplica);
  take(first);
  promote(first.node);
  EXPECT_EQ(mover_.state().nodes.size(), 1U);
  const Step second = next().at(0);
  EXPECT_EQ(second.kind, Kind::kAddReplica) << "with node 2 gone there would be two";
  EXPECT_NE(second.node, NodeId(2));
  EXPECT_EQ(mover_.state().replicas_left, 1U);
}

TEST_F(MoverTest, FiveBecomeThreeWhenFourNodesStay) {
  view_ = cluster_of(5);
  view_.ranges = {range_on(1, {2, 1, 3, 4, 5}, 100)};
  EXPECT_EQ(after(0s), (Steps{{Kind::kReduceReplication, RangeId(1), kN1, 3}}));
  take({Kind::kReduceReplication, RangeId(1), kN1, 3});
  EXPECT_EQ(view_.ranges[0].rf, 3);
}

TEST_F(MoverTest, SaysWhatBlocksItInTheWordsOfThePreflight) {
  view_ = cluster_of(3);
  view_.ranges = {range_on(1, {1, 2, 3}, 100)};
  EXPECT_TRUE(after(0s).empty());
  EXPECT_EQ(waits_for(), BlockReason::kNotEnoughNodes);
  EXPECT_EQ(mover_.state().waiting[0].error,
            "0 of 2 live stores are able to take a new replica for the range (2 already have a voter, 0 already have a "
            "non-voter); likely not enough nodes in cluster");
  view_.nodes.push_back(testing::node_at(4));
  EXPECT_EQ(after(1s).size(), 1U) << "it goes on by itself when a fourth joins";
}

TEST_F(MoverTest, KeepsToItsLimits) {
  for (std::uint64_t i = 1; i <= 100; ++i) view_.ranges.push_back(range_on(i, {1, 2, 3}, 100));
  Mover few({}, {.at_once = 7});
  EXPECT_EQ(few.next(now_, view_, leaving_, random_).size(), 7U);
  Mover narrow({.per_target = 3});
  EXPECT_EQ(narrow.next(now_, view_, leaving_, random_).size(), 3U);
}

TEST_F(MoverTest, ADeadNodeIsEmptiedFromTheOthers) {
  view_.ranges = {range_on(1, {2, 1, 3}, 100)};
  view_.nodes[0].health = NodeView::Health::kDead;
  take(after(0s).at(0));
  promote(kN4);
  EXPECT_EQ(after(1s), (Steps{{Kind::kRemoveReplica, RangeId(1), kN1, 3}}));
  take({Kind::kRemoveReplica, RangeId(1), kN1, 3});
  after(1s);
  EXPECT_EQ(mover_.state().replicas_left, 0U) << "it never opens its store again";
}

}  // namespace
}  // namespace outlast::placement
