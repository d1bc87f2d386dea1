#include "tasks/decommission_task.h"

#include <gtest/gtest.h>

#include "placement/testing/views.h"

namespace outlast::tasks {
namespace {
using namespace std::chrono_literals;
using lifecycle::DecommissionOrder;
using lifecycle::DecommissionStage;
using lifecycle::LeavingNode;
using lifecycle::StallReason;
using placement::Membership;
using placement::NodeView;
using placement::Step;
using placement::testing::cluster_of;
using placement::testing::range_on;
using Order = DecommissionOrder::Kind;
using Kind = Step::Kind;

lifecycle::DecommissionRecord record_of(std::initializer_list<std::uint32_t> nodes) {
  lifecycle::DecommissionRecord record;
  record.task = 1;
  for (const std::uint32_t id : nodes) record.nodes.push_back({.node = NodeId(id)});
  return record;
}

class DecommissionTaskTest : public testing::Test {  // node 4 of a cluster that only the test moves
 protected:
  DecommissionTask::Todo after(Duration wait, bool metadata = true) {
    std::vector<LeavingNode> nodes;
    for (const auto& node : task_.record().nodes) {
      facts_.node = node.node;
      nodes.push_back(facts_);
    }
    return task_.advance(now_ += wait, view_, std::move(nodes), metadata, random_);
  }
  NodeView& n4() { return view_.nodes[3]; }
  static std::vector<Order> kinds(const DecommissionTask::Todo& todo) {
    std::vector<Order> out;
    for (const auto& order : todo.orders) out.push_back(order.kind);
    return out;
  }

  Instant now_{1h};
  placement::ClusterView view_ = cluster_of(5);
  LeavingNode facts_;
  SeededRandom random_{5};
  DecommissionTask task_{record_of({4}), {}};
};

TEST_F(DecommissionTaskTest, MovesNothingBeforeTheMarkAndDrainsWhenNothingIsLeft) {
  view_.ranges = {range_on(1, {4, 2, 3}, 100)};
  auto todo = after(0s);
  EXPECT_EQ(kinds(todo), std::vector{Order::kMark});
  EXPECT_TRUE(todo.steps.empty());
  n4().membership = Membership::kDecommissioning;
  todo = after(1s);
  ASSERT_EQ(todo.steps.size(), 1U);
  EXPECT_EQ(todo.steps[0].kind, Kind::kAddReplica);
  EXPECT_EQ(task_.leaving(), std::vector{NodeId(4)});
  EXPECT_EQ(task_.progress().stage, DecommissionStage::kMoving);
  EXPECT_EQ(task_.progress().bytes_left, 100U);
  EXPECT_EQ(task_.nodes().at(0).leases, 1U);
  view_.ranges = {range_on(1, {1, 2, 3}, 100)};
  EXPECT_EQ(kinds(after(1s)), std::vector{Order::kDrain});
  facts_.draining = facts_.drained = true;
  facts_.buffers = 1;
  EXPECT_TRUE(after(10s).orders.empty()) << "a buffer is not flushed";
  facts_.buffers = 0;
  EXPECT_EQ(kinds(after(1s)), std::vector{Order::kFinish});
  n4().membership = Membership::kDecommissioned;
  EXPECT_EQ(kinds(after(1s)), std::vector{Order::kSettle});
}

TEST_F(DecommissionTaskTest, NamesWhatStopsRangesAndTriesAnotherWayFirst) {
  view_ = cluster_of(4);
  n4().membership = Membership::kDecommissioning;
  view_.ranges = {range_on(1, {4, 2, 3}, 100), range_on(2, {4, 2, 3}, 100)};
  for (NodeView& node : view_.nodes)
    if (node.id == NodeId(1)) node.health = NodeView::Health::kDead;
  for (int i = 0; i < 20 && task_.progress().stall.reason == StallReason::kNone; ++i) (void)after(500ms);
  EXPECT_EQ(task_.progress().stall.reason, StallReason::kNotEnoughNodes);
  EXPECT_EQ(task_.progress().stall.ranges, (std::vector{RangeId(1), RangeId(2)}));
  view_.nodes.push_back(placement::testing::node_at(5));
  EXPECT_EQ(after(1s).steps.size(), 2U) << "it goes on when a node joins";
}

TEST_F(DecommissionTaskTest, TheLastFrontendAndTheLastInputStay) {
  for (NodeView& node : view_.nodes) node.frontend = node.id == NodeId(4);
  n4().membership = Membership::kDecommissioning;
  facts_.draining = facts_.drained = true;
  EXPECT_TRUE(after(0s).orders.empty());
  (void)after(10s);
  EXPECT_EQ(task_.progress().stall.reason, StallReason::kLastFrontend);
  view_.nodes[0].frontend = true;
  n4().inputs = 2;
  EXPECT_TRUE(after(1s).orders.empty());
  (void)after(10s);
  EXPECT_EQ(task_.progress().stall.reason, StallReason::kLastInput);
  view_.nodes[1].inputs = 1;
  EXPECT_EQ(kinds(after(1s)), std::vector{Order::kFinish});
}

TEST_F(DecommissionTaskTest, AWishToStayIsFollowedAndADeadNodeNeedsItsFence) {
  n4().membership = Membership::kDecommissioning;
  n4().health = NodeView::Health::kSuspect;
  EXPECT_TRUE(after(0s).orders.empty()) << "silent is not dead";
  n4().health = NodeView::Health::kDead;
  EXPECT_TRUE(after(1s).orders.empty());
  facts_.fenced = true;
  EXPECT_EQ(kinds(after(1s)), std::vector{Order::kFinish});
  task_.replace(ask_to_stay(task_.record(), std::vector{NodeId(4)}).value());
  EXPECT_EQ(kinds(after(1s)), std::vector{Order::kUnmark});
  EXPECT_TRUE(task_.leaving().empty());
}

TEST_F(DecommissionTaskTest, WithoutMetadataOnlyTimePasses) {
  n4().membership = Membership::kDecommissioning;
  view_.ranges = {range_on(1, {4, 2, 3}, 100)};
  (void)after(0s);
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(after(500ms, false).steps.empty());
  EXPECT_EQ(task_.progress().stall.reason, StallReason::kMetadata);
}

TEST_F(DecommissionTaskTest, RulesAreReadAgain) {
  view_ = cluster_of(6);
  n4().membership = Membership::kDecommissioning;
  placement::TargetRules best;
  best.selector = placement::Selector::kBest;
  task_.set(best, 1 << 20);
  view_.ranges = {range_on(1, {4, 2, 3}, 4 << 20), range_on(2, {1, 2, 3}), range_on(3, {5, 2, 3})};
  const auto todo = after(0s);
  ASSERT_EQ(todo.steps.size(), 1U);
  EXPECT_EQ(todo.steps[0].node, NodeId(6)) << "the only empty one";
  EXPECT_GE(task_.progress().estimate.at_least, 1s);
}

}  // namespace
}  // namespace outlast::tasks
