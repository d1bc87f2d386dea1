#include "placement/planner.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <map>

namespace outlast::placement {
namespace {
using Kind = Step::Kind;
using Health = NodeView::Health;

NodeView node(std::uint32_t id) {
  return {NodeId(id), "s" + std::to_string(id)};
}
RangeConfig range(std::uint64_t id, std::uint32_t on) {
  return create_range(RangeId(id), DatabaseId(id), NodeId(on), "s" + std::to_string(on), Incarnation(1));
}
RangeConfig grown(RangeConfig config, std::initializer_list<std::uint32_t> nodes) {
  for (const std::uint32_t id : nodes) {
    config = add_learner(config, NodeId(id), "s" + std::to_string(id)).value();
    config = promote_learner(config, NodeId(id), "s" + std::to_string(id), 3).value();
  }
  return config;
}

/// Takes a step as a leaseholder would, learners caught up at once.
void apply(ClusterView& view, const Step& step) {
  for (RangeView& seen : view.ranges) {
    RangeConfig& config = seen;
    if (config.range != step.range) continue;
    if (step.kind == Kind::kAddReplica) {
      const std::string store = "s" + step.node.to_string();
      config = add_learner(config, step.node, store).value();
      config = promote_learner(config, step.node, store, step.rf).value();
    } else if (step.kind == Kind::kTransferLease) {
      config = transfer_lease(config, step.node, Incarnation(1)).value();
    } else {
      if (config.find_insync(step.node) != nullptr) config = remove_backup(config, step.node).value();
      config = remove_learner(config, step.node).value();
    }
  }
}

TEST(Planner, RaisesReplicationAsNodesJoin) {
  ClusterView view{{node(1)}, {range(1, 1)}};
  EXPECT_TRUE(plan(view).empty());
  view.nodes.push_back(node(2));
  EXPECT_EQ(plan(view), (std::vector<Step>{{Kind::kAddReplica, RangeId(1), NodeId(2), 2}}));
  apply(view, plan(view)[0]);
  EXPECT_EQ(view.ranges[0].rf, 2);
  view.nodes.push_back(node(3));
  apply(view, plan(view).at(0));
  EXPECT_EQ(view.ranges[0].rf, 3);
  view.nodes.push_back(node(4));
  EXPECT_TRUE(plan(view).empty());
}

NodeView in_zone(std::uint32_t id, const char* zone) {
  NodeView out = node(id);
  out.locality = parse_locality(std::string("zone=") + zone).value();
  return out;
}

TEST(Planner, ReplicasComeToDifferentFailureDomains) {
  ClusterView view{{in_zone(1, "a"), in_zone(2, "a"), in_zone(3, "b"), in_zone(4, "c")}, {range(1, 1)}};
  apply(view, plan(view).at(0));
  apply(view, plan(view).at(0));
  EXPECT_NE(view.ranges[0].find_insync(NodeId(3)), nullptr);
  EXPECT_NE(view.ranges[0].find_insync(NodeId(4)), nullptr);
  EXPECT_TRUE(plan(view).empty());
}

TEST(Planner, AfterAJoinReplicasSpreadOverTheNewFailureDomainAndStay) {
  ClusterView view{{in_zone(1, "a"), in_zone(2, "a"), in_zone(3, "b")}, {grown(range(1, 1), {2, 3})}};
  EXPECT_TRUE(plan(view).empty());
  view.nodes.push_back(in_zone(4, "c"));
  for (int rounds = 0; rounds < 5; ++rounds)
    for (const Step& step : plan(view)) apply(view, step);
  EXPECT_NE(view.ranges[0].find_insync(NodeId(4)), nullptr);
  EXPECT_NE(view.ranges[0].find_insync(NodeId(3)), nullptr);
  EXPECT_EQ(view.ranges[0].insync.size(), 3U);
  EXPECT_TRUE(plan(view).empty());
}

TEST(Planner, EvennessNeverCostsAFailureDomain) {
  ClusterView view{{in_zone(1, "a"), in_zone(2, "b"), in_zone(3, "c"), in_zone(4, "a")}, {}};
  for (std::uint64_t id = 1; id <= 6; ++id) view.ranges.emplace_back(grown(range(id, 1), {2, 3}));
  for (int rounds = 0; rounds < 40; ++rounds)
    for (const Step& step : plan(view)) apply(view, step);
  EXPECT_TRUE(plan(view).empty());
  int on_four = 0;
  for (const RangeView& each : view.ranges) {
    EXPECT_NE(each.find_insync(NodeId(2)), nullptr);
    EXPECT_NE(each.find_insync(NodeId(3)), nullptr);
    on_four += each.find_insync(NodeId(4)) != nullptr;
  }
  EXPECT_EQ(on_four, 3);
}

TEST(Planner, WhatATaskMovesIsCountedAndLeftAlone) {
  ClusterView view{{node(1), node(2), node(3), node(4)}, {grown(range(1, 1), {2}), grown(range(2, 1), {2, 3})}};
  view.nodes[0].membership = Membership::kDecommissioning;
  EXPECT_FALSE(plan(view).empty());
  for (RangeView& each : view.ranges) each.in_task = true;
  EXPECT_TRUE(plan(view).empty());
  view.ranges.push_back(range(3, 2));  // its own task: a replica is missing
  for (const Step& step : plan(view)) EXPECT_EQ(step.range, RangeId(3));
}

TEST(Planner, WithFourNodesFiveWantedReplicasAreThree) {
  ClusterView view{{node(1), node(2), node(3), node(4)}, {range(1, 1)}, 5};
  for (auto steps = plan(view); !steps.empty(); steps = plan(view)) apply(view, steps.at(0));
  EXPECT_EQ(view.ranges[0].insync.size(), 3U);
  view.nodes.push_back(node(5));
  for (auto steps = plan(view); !steps.empty(); steps = plan(view)) apply(view, steps.at(0));
  EXPECT_EQ(view.ranges[0].insync.size(), 5U);
}

TEST(Planner, WaitsForALearnerInsteadOfAddingAnother) {
  ClusterView view{{node(1), node(2), node(3)}, {add_learner(range(1, 1), NodeId(2), "s2").value()}};
  view.ranges[0] = add_learner(view.ranges[0], NodeId(3), "s3").value();
  EXPECT_TRUE(plan(view).empty());
}

TEST(Planner, ReplacesAReplicaOfADeadNodeButNotOfASuspectOne) {
  ClusterView view{{node(1), node(2), node(3), node(4)}, {grown(range(1, 1), {2, 3})}};
  view.nodes[2].health = Health::kSuspect;
  EXPECT_TRUE(plan(view).empty());
  view.nodes[2].health = Health::kDead;
  EXPECT_EQ(plan(view).at(0), (Step{Kind::kRemoveReplica, RangeId(1), NodeId(3), 3}));
  apply(view, plan(view).at(0));
  EXPECT_EQ(plan(view).at(0), (Step{Kind::kAddReplica, RangeId(1), NodeId(4), 3}));
  apply(view, plan(view).at(0));
  EXPECT_TRUE(plan(view).empty());
}

TEST(Planner, AtMinInsyncAddsBeforeItRemoves) {
  ClusterView view{{node(1), node(2), node(3)}, {grown(range(1, 1), {2})}};
  view.nodes[1].health = Health::kDead;
  EXPECT_EQ(plan(view).at(0).kind, Kind::kAddReplica);
  apply(view, plan(view).at(0));
  EXPECT_EQ(plan(view).at(0), (Step{Kind::kRemoveReplica, RangeId(1), NodeId(2), 2}));
}

TEST(Planner, NeverTargetsNodesThatShouldTakeNothing) {
  ClusterView view{{node(1), node(2), node(3), node(4), node(5), node(6)}, {range(1, 1)}};
  view.nodes[5].store_failed = true;
  view.nodes[1].health = Health::kSuspect;
  view.nodes[2].health = Health::kDead;
  view.nodes[3].draining = true;
  view.nodes[4].membership = Membership::kDecommissioning;
  EXPECT_TRUE(plan(view).empty());
}

TEST(Planner, MovesLeasesOffADrainingNodeAndOffADiskThatFailed) {
  ClusterView view{{node(1), node(2)}, {grown(range(1, 1), {2})}};
  view.nodes[0].draining = true;
  EXPECT_EQ(plan(view).at(0), (Step{Kind::kTransferLease, RangeId(1), NodeId(2), 2}));
  view.nodes[0].draining = false;
  view.nodes[0].store_failed = true;
  EXPECT_EQ(plan(view).at(0), (Step{Kind::kTransferLease, RangeId(1), NodeId(2), 2}));
}

TEST(Planner, LeavesTheLeasesOfAnExitingProcessToIt) {
  ClusterView view{{node(1), node(2)}, {grown(range(1, 1), {2}), grown(range(2, 1), {2}), grown(range(3, 1), {2})}};
  view.nodes[0].draining = view.nodes[0].exiting = true;
  EXPECT_TRUE(plan(view).empty()) << "it knows on which of them statements run";
  view.nodes[0].store_failed = true;
  EXPECT_EQ(plan(view).size(), 3u);
}

TEST(Planner, LeavesADifferenceOfOneAlone) {
  ClusterView view{{node(1), node(2), node(3)}, {grown(range(1, 1), {2, 3})}};
  EXPECT_TRUE(plan(view).empty());
  view.ranges.push_back(grown(range(2, 1), {2, 3}));
  EXPECT_EQ(plan(view).size(), 1u);  // 2, 0, 0
}

TEST(Planner, TouchesNothingOfARangeThatNobodyLeads) {
  ClusterView view{{node(1), node(2)}, {release_lease(range(1, 1)).value()}};
  EXPECT_TRUE(plan(view).empty());
}

TEST(Planner, KeepsToItsLimits) {
  ClusterView view{{node(1), node(2)}, {}};
  for (std::uint64_t i = 1; i <= 100; ++i) view.ranges.push_back(range(i, 1));
  EXPECT_EQ(plan(view, {.steps_max = 8}).size(), 8u);
  EXPECT_LE(plan(view, {.steps_max = 50, .learners_max = 5}).size(), 6u);
}

TEST(PlannerProperty, RepeatingItConvergesEvenlyAndThenPlansNothing) {
  EXPECT_TRUE(rc::check([] {
    ClusterView view;
    const auto count = *rc::gen::inRange<std::uint32_t>(1, 7);
    for (std::uint32_t i = 1; i <= count; ++i) view.nodes.push_back(node(i));
    const auto ranges = *rc::gen::inRange<std::uint64_t>(1, 40);
    for (std::uint64_t i = 1; i <= ranges; ++i)
      view.ranges.push_back(range(i, *rc::gen::inRange<std::uint32_t>(1, count + 1)));
    for (int round = 0; round < 3; ++round) {
      int rounds = 0;
      for (auto steps = plan(view); !steps.empty(); steps = plan(view)) {
        RC_ASSERT(++rounds < 500);
        for (const Step& step : steps) {
          if (step.kind != Kind::kRemoveReplica) {
            const NodeView& target = view.nodes[step.node.value - 1];
            RC_ASSERT(target.health == Health::kLive && target.membership == Membership::kActive && !target.draining);
          }
          apply(view, step);
        }
      }
      std::map<NodeId, int> replicas, leases;
      for (const NodeView& each : view.nodes)
        if (each.health == Health::kLive) replicas[each.id] = leases[each.id] = 0;
      for (const RangeConfig& config : view.ranges) {
        for (const ReplicaRef& ref : config.insync) ++replicas[ref.node];
        if (replicas.contains(config.leaseholder->node)) ++leases[config.leaseholder->node];
      }
      if (round == 0) {
        int low = 1 << 30, high = 0;
        for (const auto& [id, n] : replicas) low = std::min(low, n), high = std::max(high, n);
        RC_ASSERT(high - low <= 1);
        low = 1 << 30, high = 0;
        for (const auto& [id, n] : leases) low = std::min(low, n), high = std::max(high, n);
        RC_ASSERT(high - low <= 3);
      }
      // A node dies (its ranges are taken over), or a new one joins.
      if (round == 1) view.nodes.push_back(node(static_cast<std::uint32_t>(view.nodes.size()) + 1));
      if (round == 0 && count > 3) {
        NodeView& dead = view.nodes[*rc::gen::inRange<std::size_t>(0, count)];
        dead.health = Health::kDead;
        for (RangeView& seen : view.ranges) {
          RangeConfig& config = seen;
          if (config.leaseholder->node != dead.id) continue;
          for (const ReplicaRef& ref : std::vector<ReplicaRef>(config.insync))
            if (ref.node != dead.id && config.leaseholder->node == dead.id)
              config = take_over(config, ref.node, Incarnation(1)).value();
        }
      }
    }
  }));
}

}  // namespace
}  // namespace outlast::placement
