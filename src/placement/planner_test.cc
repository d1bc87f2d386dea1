#include "placement/planner.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "base/loop.h"

namespace outlast::placement {
namespace {

NodeView live_node(std::uint32_t id) { return {.node = NodeId(id), .store_uuid = "s" + std::to_string(id), .live = true}; }

class PlannerTest : public testing::Test {  // a small world that takes the planner's steps at once
 protected:
  void add_range(std::uint64_t id, std::uint32_t node) {
    view_.ranges.push_back(create_range(RangeId(id), DatabaseId(id), NodeId(node), "s" + std::to_string(node), Incarnation(1)));
  }
  void take(const Step& step) {
    for (RangeConfig& range : view_.ranges) {
      if (range.range != step.range) continue;
      const std::string store = "s" + std::to_string(step.node.value);
      if (step.kind == Step::Kind::kAddReplica) {
        range = add_learner(range, step.node, store).value();
        range = promote_learner(range, step.node, store, step.rf).value();
      } else if (step.kind == Step::Kind::kRemoveReplica) {
        range = remove_learner(range, step.node).value();
      } else {
        range = transfer_lease(range, step.node, Incarnation(1)).value();
      }
    }
  }
  /// Rounds until a plan is empty.
  int settle() {
    for (int rounds = 0; rounds < 1000; ++rounds) {
      const std::vector<Step> steps = plan(view_);
      if (steps.empty()) return rounds;
      for (const Step& step : steps) take(step);
    }
    ADD_FAILURE() << "does not converge";
    return -1;
  }
  std::map<NodeId, int> leases() const {
    std::map<NodeId, int> counts;
    for (const RangeConfig& range : view_.ranges) ++counts[range.leaseholder->node];
    return counts;
  }
  ClusterView view_;
};

TEST_F(PlannerTest, GrowsARangeAsNodesJoinAndNotBeyondWhatIsWanted) {
  view_.nodes = {live_node(1)};
  add_range(1, 1);
  EXPECT_TRUE(plan(view_).empty());
  view_.nodes.push_back(live_node(2));
  EXPECT_EQ(plan(view_), (std::vector<Step>{{Step::Kind::kAddReplica, RangeId(1), NodeId(2), 2}}));
  settle();
  EXPECT_EQ(view_.ranges[0].rf, 2);
  EXPECT_EQ(view_.ranges[0].min_insync, 2);
  for (std::uint32_t n : {3U, 4U, 5U}) view_.nodes.push_back(live_node(n));
  settle();
  EXPECT_EQ(view_.ranges[0].rf, 3);
  EXPECT_EQ(view_.ranges[0].insync.size(), 3U);
}

TEST_F(PlannerTest, SpreadsLeasesOverMembersAlsoAfterANodeComesBack) {
  view_.nodes = {live_node(1), live_node(2), live_node(3)};
  for (std::uint64_t r = 1; r <= 30; ++r) add_range(r, 1);
  settle();
  for (const auto& [node, n] : leases()) EXPECT_EQ(n, 10) << node.value;
  for (RangeConfig& range : view_.ranges)  // node 3 went: its leases were taken over
    if (range.leaseholder->node == NodeId(3)) range = transfer_lease(range, NodeId(1), Incarnation(1)).value();
  settle();
  for (const auto& [node, n] : leases()) EXPECT_EQ(n, 10) << node.value;
}

TEST_F(PlannerTest, NeverChoosesANodeThatCannotBeReliedOn) {
  view_.nodes = {live_node(1), live_node(2), live_node(3), live_node(4), live_node(5)};
  view_.nodes[1].live = false;
  view_.nodes[2].draining = true;
  view_.nodes[3].decommissioning = true;
  for (std::uint64_t r = 1; r <= 4; ++r) add_range(r, 1);
  settle();
  for (const RangeConfig& range : view_.ranges) {
    EXPECT_EQ(range.insync.size(), 2U);
    EXPECT_NE(range.find_insync(NodeId(5)), nullptr);
  }
}

TEST_F(PlannerTest, ReplacesAReplicaOnlyWhenItsNodeIsDeadOrWiped) {
  view_.nodes = {live_node(1), live_node(2), live_node(3)};
  add_range(1, 1);
  settle();
  view_.nodes.push_back(live_node(4));
  const auto suspect = view_.nodes.begin() + 2;
  suspect->live = false;  // silent, but not for long
  EXPECT_TRUE(plan(view_).empty());
  suspect->dead = true;
  view_.ranges[0] = remove_backup(view_.ranges[0], NodeId(3)).value();
  EXPECT_EQ(plan(view_).at(0), (Step{Step::Kind::kAddReplica, RangeId(1), NodeId(4), 3}));
  settle();
  EXPECT_EQ(view_.ranges[0].find(NodeId(3)), nullptr);
  EXPECT_EQ(view_.ranges[0].insync.size(), 3U);
}

TEST_F(PlannerTest, LeavesRangesWithoutALeaseholderAlone) {
  view_.nodes = {live_node(1), live_node(2)};
  add_range(1, 1);
  view_.ranges[0] = release_lease(view_.ranges[0]).value();
  EXPECT_TRUE(plan(view_).empty());
}

TEST_F(PlannerTest, ConvergesFromAnyCluster) {
  const char* given = std::getenv("OUTLAST_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : 20261122;
  std::printf("seed %llu (OUTLAST_SEED replays)\n", static_cast<unsigned long long>(seed));
  SeededRandom random(seed);
  for (int round = 0; round < 200; ++round) {
    view_ = {};
    const auto nodes = static_cast<std::uint32_t>(1 + random.below(8));
    for (std::uint32_t n = 1; n <= nodes; ++n) {
      view_.nodes.push_back(live_node(n));
      if (n > 1 && random.below(4) == 0) view_.nodes.back().live = false;
    }
    for (std::uint64_t r = 1; r <= random.below(40); ++r) add_range(r, 1);
    settle();
    std::map<NodeId, int> counts = leases();
    for (const RangeConfig& range : view_.ranges)  // no lease is two above a fellow member that could take it
      for (const ReplicaRef& member : range.insync)
        EXPECT_LT(counts[range.leaseholder->node] - counts[member.node], 2) << "round " << round;
  }
}

}  // namespace
}  // namespace outlast::placement
