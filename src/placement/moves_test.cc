#include "placement/moves.h"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <set>

#include "placement/testing/views.h"

namespace outlast::placement {
namespace {
using testing::cluster_of;
using testing::node_at;
using testing::range_on;

constexpr std::uint64_t kGiB = 1ULL << 30U;

class MovesTest : public ::testing::Test {
 protected:
  MovePlan plan(const ClusterView& view, std::vector<NodeId> leaving, TargetRules rules = {}) {
    return plan_moves(view, leaving, rules, random_);
  }
  SeededRandom random_{7};
};

TEST_F(MovesTest, AReplicaGoesToANodeThatHasNone) {
  ClusterView view = cluster_of(4);
  view.ranges = {range_on(1, {1, 2, 3}, 100)};
  const MovePlan made = plan(view, {NodeId(2)});
  EXPECT_EQ(made.moves, (std::vector<Move>{{RangeId(1), NodeId(2), NodeId(4), 100}}));
  EXPECT_EQ(made.bytes, 100U);
  EXPECT_TRUE(made.fix.empty());
}

TEST_F(MovesTest, TheMostDiverseLocalityComesFirst) {
  ClusterView view;
  for (std::uint32_t id = 1; id <= 9; ++id)
    view.nodes.push_back(node_at(id, id <= 3 ? "region=a,zone=1" : id <= 6 ? "region=a,zone=2" : "region=b,zone=3"));
  view.ranges = {range_on(1, {1, 2, 4})};
  for (int i = 0; i < 20; ++i) EXPECT_GT(plan(view, {NodeId(2)}).moves.at(0).to, NodeId(6));
  view.nodes[6].draining = view.nodes[7].store_failed = true;
  view.nodes[8].health = NodeView::Health::kSuspect;
  EXPECT_GE(plan(view, {NodeId(4)}).moves.at(0).to.value, 5U) << "zone 2 is empty then, zone 1 has two";
}

TEST_F(MovesTest, GoodSpreadsAndBestFillsTheEmptiest) {
  ClusterView view = cluster_of(6);
  for (std::uint64_t i = 1; i <= 30; ++i) view.ranges.push_back(range_on(i, {1, 2, 3}));
  for (std::uint64_t i = 31; i <= 34; ++i) view.ranges.push_back(range_on(i, {4, 5, 3}));
  std::map<NodeId, int> good, best;
  for (const Move& move : plan(view, {NodeId(1)}).moves) ++good[move.to];
  for (const Move& move : plan(view, {NodeId(1)}, {.selector = Selector::kBest}).moves) ++best[move.to];
  EXPECT_EQ(good.size(), 3U);
  EXPECT_GE(best[NodeId(6)] - best[NodeId(5)], 3);
}

TEST_F(MovesTest, CountsWhatItPlacedAndWhatIsUnderWay) {
  ClusterView view = cluster_of(3);
  view.nodes.push_back(node_at(4, "", {10 * kGiB, 0, 10 * kGiB}));
  view.ranges = {range_on(1, {1, 2, 3}, 4 * kGiB), range_on(2, {1, 2, 3}, 4 * kGiB), range_on(3, {1, 2, 3}, 4 * kGiB)};
  MovePlan made = plan(view, {NodeId(1)});
  EXPECT_EQ(made.moves.size(), 2U);
  ASSERT_EQ(made.blocked.size(), 1U);
  EXPECT_EQ(made.blocked[0].reason, BlockReason::kDiskSpace);
  EXPECT_EQ(made.blocked[0].error,
            "0 of 3 live stores are able to take a new replica for the range (2 already have a voter, 0 already have a "
            "non-voter); 1 without the disk space for it");
  EXPECT_EQ(to_string(made.fix), "free 2.5 GiB on n4, or add 1 node with 4 GiB free");
  static_cast<RangeConfig&>(view.ranges[2]) = add_learner(view.ranges[2], NodeId(4), "s4").value();
  made = plan(view, {NodeId(1)});
  EXPECT_EQ(made.blocked.size(), 1U);
  EXPECT_EQ(made.blocked[0].range, RangeId(2)) << "the learner's bytes are spoken for";
}

TEST_F(MovesTest, FindsThePlanThatAnEagerChoiceMisses) {
  ClusterView view = cluster_of(3);
  view.nodes.push_back(node_at(4, "", {10 * kGiB, 0, 7 * kGiB}));
  view.nodes.push_back(node_at(5, "", {10 * kGiB, 0, 4 * kGiB}));
  view.ranges = {range_on(1, {1, 2, 3}, 3 * kGiB), range_on(2, {1, 2, 3}, 6 * kGiB)};
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(plan(view, {NodeId(1)}).blocked.empty());
}

TEST_F(MovesTest, ThreeNodesNeedAFourth) {
  ClusterView view = cluster_of(3, "zone=b");
  view.ranges = {range_on(1, {1, 2, 3}, kGiB), range_on(2, {1, 2, 3}, kGiB)};
  const MovePlan made = plan(view, {NodeId(1)});
  EXPECT_TRUE(made.moves.empty());
  EXPECT_EQ(made.blocked.size(), 2U);
  EXPECT_EQ(to_string(made.fix), "add 1 node in zone b with 2 GiB free");
  EXPECT_EQ(to_string(plan(view, {NodeId(1), NodeId(2)}).fix), "add 2 nodes in zone b with 2 GiB free each");
}

TEST_F(MovesTest, WhatADrainHasTakenOutOfSyncIsNotCopiedForItsOwnSake) {
  ClusterView view = cluster_of(5);
  RangeView range = range_on(1, {1, 2, 4}, kGiB);
  range.learners.push_back(range.insync.back());
  range.insync.pop_back();
  view.ranges = {range};
  view.nodes[3].draining = true;
  EXPECT_EQ(plan(view, {NodeId(4), NodeId(1)}).moves.size(), 3U);
  EXPECT_EQ(plan(view, {NodeId(4), NodeId(1)}).copies(), 2U);
}

TEST_F(MovesTest, ANodeThatOnlyDrainsIsTheSmallestFix) {
  ClusterView view = cluster_of(4);
  view.ranges = {range_on(1, {1, 2, 3}, kGiB)};
  view.nodes[3].draining = true;
  EXPECT_EQ(to_string(plan(view, {NodeId(1)}).fix), "undrain n4");
}

TEST_F(MovesTest, FiveReplicasBecomeThreeAndThreeNeverTwo) {
  ClusterView view = cluster_of(5);
  view.ranges = {range_on(1, {1, 2, 3, 4, 5}, kGiB)};
  MovePlan made = plan(view, {NodeId(5)});
  EXPECT_EQ(made.reductions.size(), 1U);
  EXPECT_TRUE(made.blocked.empty());
  made = plan(view, {NodeId(4), NodeId(5)});
  EXPECT_EQ(made.reductions.size(), 2U);
  made = plan(view, {NodeId(3), NodeId(4), NodeId(5)});
  EXPECT_EQ(made.blocked.size(), 1U) << "two of them would stay, and a third replica has no place";
  EXPECT_EQ(made.fix.add_nodes, 1);
}

TEST_F(MovesTest, ASilentNodeIsNoReasonToReduce) {
  ClusterView view = cluster_of(6);
  view.ranges = {range_on(1, {1, 2, 3, 4, 5}, kGiB)};
  view.nodes[5].health = NodeView::Health::kSuspect;
  const MovePlan made = plan(view, {NodeId(5)});
  EXPECT_TRUE(made.reductions.empty());
  EXPECT_EQ(made.blocked.size(), 1U);
}

TEST_F(MovesTest, AnUnavailableRangeIsNamed) {
  ClusterView view = cluster_of(5);
  view.ranges = {range_on(1, {1, 2, 3}, kGiB), range_on(2, {1, 4, 5}, kGiB)};
  view.nodes[1].health = view.nodes[2].health = NodeView::Health::kDead;
  const MovePlan made = plan(view, {NodeId(1)});
  ASSERT_EQ(made.blocked.size(), 2U);
  EXPECT_EQ(made.blocked[0].error, "range is unavailable: 1 of 3 in-sync replicas answer, 2 are needed");
  EXPECT_EQ(made.fix.revive, std::vector<RangeId>{RangeId(1)});
}

TEST_F(MovesTest, AFailureDomainIsKeptWhereThatWasAsked) {
  ClusterView view;
  for (std::uint32_t id = 1; id <= 4; ++id)
    view.nodes.push_back(node_at(id, id == 1 ? "zone=a" : id == 2 ? "zone=b" : "zone=c"));
  view.ranges = {range_on(1, {1, 2, 3}, kGiB)};
  EXPECT_TRUE(plan(view, {NodeId(2)}).blocked.empty());
  const MovePlan made = plan(view, {NodeId(2)}, {.keep_domains = true});
  ASSERT_EQ(made.blocked.size(), 1U);
  EXPECT_EQ(made.blocked[0].reason, BlockReason::kFailureDomain);
  EXPECT_EQ(to_string(made.fix), "add 1 node in zone b with 1 GiB free");
}

ClusterView large(std::uint32_t nodes, std::uint64_t ranges) {
  ClusterView view;
  for (std::uint32_t id = 1; id <= nodes; ++id)
    view.nodes.push_back(node_at(id,
                                 ("region=r" + std::to_string(id % 3) + ",zone=z" + std::to_string(id % 30)).c_str(),
                                 {1000 * kGiB, 100 * kGiB, 900 * kGiB}));
  view.ranges.reserve(ranges);
  for (std::uint64_t i = 0; i < ranges; ++i) {
    const auto first = static_cast<std::uint32_t>(i % nodes) + 1;
    view.ranges.push_back(range_on(i + 1, {first, first % nodes + 1, (first + 1) % nodes + 1}, kGiB));
  }
  return view;
}

TEST_F(MovesTest, OneNodeOfAThousandIsPlannedWithinASecond) {
  double seconds[3];
  const std::uint64_t sizes[3] = {10'000, 25'000, 50'000};
  for (int i = 0; i < 3; ++i) {
    const ClusterView view = large(1000, sizes[i]);
    const auto began = std::chrono::steady_clock::now();
    const MovePlan made = plan(view, {NodeId(500)});
    seconds[i] = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    EXPECT_EQ(made.moves.size(), 3 * sizes[i] / 1000);
    EXPECT_TRUE(made.blocked.empty());
    std::printf("plan of one node of 1000, %llu ranges: %.1f ms\n", static_cast<unsigned long long>(sizes[i]),
                seconds[i] * 1e3);
  }
  EXPECT_LT(seconds[2], 1.0);
}

}  // namespace
}  // namespace outlast::placement
