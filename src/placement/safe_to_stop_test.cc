#include "placement/safe_to_stop.h"

#include <gtest/gtest.h>

#include <bit>
#include <chrono>
#include <iostream>

#include "base/loop.h"
#include "placement/testing/views.h"

namespace outlast::placement {
namespace {
using testing::cluster_of;
using testing::node_at;
using testing::range_on;

std::vector<NodeId> ids(std::initializer_list<std::uint32_t> numbers) {
  std::vector<NodeId> out;
  for (const std::uint32_t each : numbers) out.emplace_back(each);
  return out;
}

StopSet::Left left(const StopSet& set, std::uint32_t node) {
  const StopSet::Left* found = set.find_left(NodeId(node));
  return found == nullptr ? StopSet::Left{} : *found;
}

TEST(SafeToStopTest, OneOfThreeThatShareARange) {
  ClusterView view = cluster_of(3);
  view.ranges = {range_on(1, {1, 2, 3}), range_on(2, {2, 3, 1})};
  const StopSet set = safe_to_stop(view);
  EXPECT_EQ(set.nodes, ids({1}));
  EXPECT_EQ(left(set, 2).reason, StopReason::kShared);
  EXPECT_EQ(left(set, 2).why, "range 1 (and 1 more) would keep 1 in-sync replica and needs 2");
  EXPECT_EQ(left(set, 2).range, RangeId(1));
}

TEST(SafeToStopTest, NodesWithoutACommonRangeStopTogether) {
  ClusterView view = cluster_of(6);
  view.ranges = {range_on(1, {1, 2, 3}), range_on(2, {4, 5, 6})};
  EXPECT_EQ(safe_to_stop(view).nodes.size(), 2U);
  view.ranges = {range_on(1, {1, 2, 3, 4, 5})};
  EXPECT_EQ(safe_to_stop(view).nodes.size(), 3U) << "two of the range's five, and the node without it";
  EXPECT_EQ(safe_to_stop(view, {.max = 1}).nodes.size(), 1U);
}

TEST(SafeToStopTest, GreedIsNotEnough) {
  // 1 shares a range with each of 2, 3 and 4, which share none: three may stop, not one.
  ClusterView view = cluster_of(8);
  view.ranges = {range_on(1, {1, 2, 5}), range_on(2, {1, 3, 6}), range_on(3, {1, 4, 7}),
                 range_on(4, {2, 5, 8}), range_on(5, {3, 6, 8}), range_on(6, {4, 7, 8})};
  const StopSet set = safe_to_stop(view);
  EXPECT_EQ(set.nodes, ids({2, 3, 4}));
  EXPECT_TRUE(set.largest);
}

TEST(SafeToStopTest, WithoutASpareReplica) {
  ClusterView view = cluster_of(2);
  view.ranges = {range_on(1, {1, 2})};
  StopSet set = safe_to_stop(view);
  EXPECT_TRUE(set.nodes.empty());
  EXPECT_EQ(left(set, 1).reason, StopReason::kNoSpare);
  EXPECT_EQ(left(set, 1).why, "range 1 needs each of its 2 in-sync replicas for commits");
  view = cluster_of(1);
  view.ranges = {range_on(1, {1})};
  set = safe_to_stop(view);
  EXPECT_EQ(left(set, 1).reason, StopReason::kNoSpare);
  EXPECT_EQ(left(set, 1).why, "it has the only replica of range 1");
}

TEST(SafeToStopTest, WaitingHelpsWhereAReplicaIsMissing) {
  ClusterView view = cluster_of(4);
  view.ranges = {range_on(1, {1, 2, 3})};
  view.nodes[2].health = NodeView::Health::kSuspect;
  const StopSet set = safe_to_stop(view);
  EXPECT_EQ(set.nodes, ids({4}));
  EXPECT_EQ(left(set, 1).reason, StopReason::kNotInSync);
  EXPECT_EQ(left(set, 1).why, "range 1 has 2 in-sync replicas that answer and needs 2 without this one");
  EXPECT_EQ(left(set, 3).reason, StopReason::kNotLive);
}

TEST(SafeToStopTest, ARangeThatStillGrowsIsToGetASpare) {
  ClusterView view = cluster_of(3);
  view.ranges = {range_on(1, {1, 2})};  // the third is to come
  EXPECT_EQ(left(safe_to_stop(view), 1).reason, StopReason::kNotInSync);
}

TEST(SafeToStopTest, ADrainingNodeHasLeftAlready) {
  ClusterView view = cluster_of(3);
  view.ranges = {range_on(1, {1, 2, 3})};
  view.nodes[1].draining = true;
  const StopSet set = safe_to_stop(view);
  EXPECT_EQ(set.nodes, ids({2})) << "it may stop, and nobody beside it";
  EXPECT_EQ(left(set, 1).reason, StopReason::kNotInSync);
}

TEST(SafeToStopTest, WhoIsAbsentIsNoCandidateAndDoesNotCount) {
  ClusterView view = cluster_of(3);
  view.ranges = {range_on(1, {1, 2, 3})};
  const StopSet set = safe_to_stop(view, {.absent = ids({3})});
  EXPECT_TRUE(set.nodes.empty());
  EXPECT_EQ(set.find_left(NodeId(3)), nullptr);
}

TEST(SafeToStopTest, OneFailureDomainAtATime) {
  ClusterView view;
  for (std::uint32_t id = 1; id <= 9; ++id)
    view.nodes.push_back(node_at(id, id <= 3 ? "zone=a" : id <= 6 ? "zone=b" : "zone=c"));
  for (std::uint32_t i = 0; i < 27; ++i)
    view.ranges.push_back(range_on(i + 1, {1 + i % 3, 4 + i / 3 % 3, 7 + i / 9 % 3}));
  const StopSet set = safe_to_stop(view);
  EXPECT_EQ(set.nodes, ids({1, 2, 3})) << "a whole zone: every range has its other two elsewhere";
  EXPECT_EQ(left(set, 4).reason, StopReason::kDomain);
  EXPECT_EQ(left(set, 4).why, "it stands in zone b: one failure domain at a time, these are of zone a");
}

TEST(SafeToStopTest, SomebodyTakesClients) {
  ClusterView view = cluster_of(3);
  EXPECT_EQ(safe_to_stop(view).nodes.size(), 2U);
  view.nodes[1].frontend = view.nodes[2].frontend = false;
  const StopSet set = safe_to_stop(view);
  EXPECT_EQ(set.nodes, ids({2, 3}));
  EXPECT_EQ(left(set, 1).reason, StopReason::kLastFrontend);
}

TEST(SafeToStopTest, ARangeInTroubleHoldsItsOwnNodesOnly) {
  ClusterView view = cluster_of(6);
  view.ranges = {range_on(1, {1, 2, 3}), range_on(2, {4, 5, 6})};
  view.nodes[0].health = view.nodes[1].health = NodeView::Health::kDead;
  EXPECT_EQ(safe_to_stop(view).nodes.size(), 1U);
  EXPECT_EQ(left(safe_to_stop(view), 3).reason, StopReason::kNotInSync);
}

/// Every subset of a small cluster, by the definition.
bool holds(const ClusterView& view, std::uint32_t subset) {
  const auto stops = [&](NodeId id) { return (subset >> (id.value - 1) & 1U) != 0; };
  bool frontend = false, touches_one = false;
  const Locality* domain = nullptr;
  for (const NodeView& node : view.nodes) {
    if (stops(node.id) && node.health != NodeView::Health::kLive) return false;
    if (stops(node.id) && domain != nullptr && *domain != node.locality) return false;
    if (stops(node.id)) domain = &node.locality;
    touches_one |= stops(node.id) && node.frontend;
    frontend |= !stops(node.id) && node.health == NodeView::Health::kLive && !node.draining && node.frontend;
  }
  for (const RangeView& range : view.ranges) {
    int touched = 0, present = 0;
    for (const ReplicaRef& member : range.insync) {
      const NodeView& node = view.nodes[member.node.value - 1];
      touched += stops(node.id) ? 1 : 0;
      present += !stops(node.id) && node.health == NodeView::Health::kLive && !node.draining ? 1 : 0;
    }
    if (touched > 0 && present < range.min_insync) return false;
  }
  return frontend || !touches_one;
}

ClusterView random_cluster(Random& random) {
  ClusterView view;
  const auto count = static_cast<std::uint32_t>(3 + random.below(7));
  const bool zones = random.below(2) == 0;
  for (std::uint32_t id = 1; id <= count; ++id) {
    NodeView node = node_at(id, zones ? (id % 3 == 0 ? "zone=a" : id % 3 == 1 ? "zone=b" : "zone=c") : "");
    if (random.below(8) == 0) node.health = NodeView::Health::kSuspect;
    node.draining = random.below(8) == 0;
    node.frontend = random.below(4) != 0;
    view.nodes.push_back(node);
  }
  for (std::uint64_t i = 1, ranges = random.below(12); i <= ranges; ++i) {
    const auto at = static_cast<std::uint32_t>(random.below(count));
    const auto node = [&](std::uint32_t step) { return 1 + (at + step) % count; };
    if (random.below(5) == 0)
      view.ranges.push_back(range_on(i, {node(0)}));
    else
      view.ranges.push_back(range_on(i, {node(0), node(1), node(2)}));
  }
  return view;
}

TEST(SafeToStopTest, IsTheLargestOfAllSubsets) {
  for (std::uint64_t seed = 1; seed <= 2'000; ++seed) {
    SeededRandom random(seed);
    const ClusterView view = random_cluster(random);
    int most = 0;
    for (std::uint32_t subset = 0; subset < 1U << view.nodes.size(); ++subset)
      if (holds(view, subset)) most = std::max(most, std::popcount(subset));
    const StopSet set = safe_to_stop(view);
    std::uint32_t chosen = 0;
    for (const NodeId id : set.nodes) chosen |= 1U << (id.value - 1);
    ASSERT_TRUE(holds(view, chosen)) << "seed " << seed;
    ASSERT_EQ(static_cast<int>(set.nodes.size()), most) << "seed " << seed;
    ASSERT_EQ(set.nodes.size() + set.left.size(), view.nodes.size()) << "seed " << seed;
    for (const StopSet::Left& one : set.left)
      ASSERT_FALSE(holds(view, chosen | 1U << (one.node.value - 1))) << "seed " << seed << ": " << one.why;
  }
}

TEST(SafeToStopTest, AThousandNodesTakeNoTime) {
  ClusterView view;
  SeededRandom random(3);
  for (std::uint32_t id = 1; id <= 1'000; ++id)
    view.nodes.push_back(node_at(id, id % 3 == 0 ? "zone=a" : id % 3 == 1 ? "zone=b" : "zone=c"));
  for (std::uint64_t i = 1; i <= 50'000; ++i) {
    const auto at = [&](std::uint32_t zone) { return 1 + zone + 3 * static_cast<std::uint32_t>(random.below(333)); };
    view.ranges.push_back(range_on(i, {at(0), at(1), at(2)}));
  }
  const auto began = std::chrono::steady_clock::now();
  const StopSet set = safe_to_stop(view);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  EXPECT_GE(set.nodes.size(), 333U);
  std::cout << set.nodes.size() << " nodes of 1,000 with 50,000 ranges in " << took.count() << " s\n";
}

}  // namespace
}  // namespace outlast::placement
