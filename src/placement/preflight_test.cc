#include "placement/preflight.h"

#include <gtest/gtest.h>

#include "placement/testing/views.h"

namespace outlast::placement {
namespace {
using testing::cluster_of;
using testing::node_at;
using testing::range_on;

class PreflightTest : public ::testing::Test {
 protected:
  Preflight check(const ClusterView& view, std::vector<NodeId> nodes, Checks checks = Checks::kEnabled) {
    return preflight(view, nodes, checks, {}, random_).value();
  }
  SeededRandom random_{7};
};

TEST_F(PreflightTest, SaysItInTheWordsOfTheSeed) {
  ClusterView view = cluster_of(3);
  for (std::uint64_t i = 1; i <= 44; ++i) view.ranges.push_back(range_on(i, {1, 2, 3}));
  const Preflight found = check(view, {NodeId(1), NodeId(2)});
  EXPECT_FALSE(found.may_begin());
  EXPECT_EQ(found.text(),
            "ranges blocking decommission detected\n"
            "n1 has 44 replicas blocked with error: \"0 of 1 live stores are able to take a new replica for the range "
            "(2 already have a voter, 0 already have a non-voter); likely not enough nodes in cluster\"\n"
            "n2 has 44 replicas blocked with error: \"0 of 1 live stores are able to take a new replica for the range "
            "(2 already have a voter, 0 already have a non-voter); likely not enough nodes in cluster\"\n"
            "fix: add 2 nodes\n"
            "ERROR: Cannot decommission nodes.\n");
  EXPECT_EQ(found.groups.size(), 2U);
  EXPECT_EQ(found.nodes[0].readiness, "allocation errors");
  EXPECT_EQ(found.nodes[0].blocking_ranges, 44U);
}

TEST_F(PreflightTest, SkippingTellsAndBegins) {
  ClusterView view = cluster_of(3);
  view.ranges = {range_on(1, {1, 2, 3})};
  const Preflight found = check(view, {NodeId(1)}, Checks::kSkip);
  EXPECT_TRUE(found.may_begin());
  EXPECT_EQ(found.groups.size(), 1U);
  EXPECT_EQ(found.text().find("ERROR"), std::string::npos);
}

TEST_F(PreflightTest, ReadyNodesHaveNothingToSay) {
  ClusterView view = cluster_of(4);
  view.ranges = {range_on(1, {1, 2, 3})};
  const Preflight found = check(view, {NodeId(1), NodeId(1)});
  EXPECT_TRUE(found.may_begin());
  EXPECT_EQ(found.text(), "");
  ASSERT_EQ(found.nodes.size(), 1U);
  EXPECT_EQ(found.nodes[0].readiness, "ready");
  EXPECT_EQ(found.nodes[0].replicas, 1U);
}

TEST_F(PreflightTest, StrictWantsWholeRangesAndUndiminishedSpread) {
  ClusterView view = cluster_of(5);
  view.ranges = {range_on(1, {1, 2, 3})};
  view.nodes[2].health = NodeView::Health::kDead;
  EXPECT_TRUE(check(view, {NodeId(1)}).may_begin());
  const Preflight strict = check(view, {NodeId(1)}, Checks::kStrict);
  EXPECT_FALSE(strict.may_begin());
  EXPECT_EQ(strict.text(), "under-replicated ranges: r1\nERROR: Cannot decommission nodes.\n");
}

TEST_F(PreflightTest, WarnsOfTheLastFrontendAndTheLastInput) {
  ClusterView view = cluster_of(4);
  view.ranges = {range_on(1, {1, 2, 3})};
  for (NodeView& node : view.nodes) node.frontend = node.id == NodeId(1);
  view.nodes[0].inputs = 2;
  const Preflight found = check(view, {NodeId(1)});
  EXPECT_EQ(found.warnings.size(), 2U);
  EXPECT_TRUE(found.may_begin());
  EXPECT_FALSE(check(view, {NodeId(1)}, Checks::kStrict).may_begin());
}

TEST_F(PreflightTest, ADeadNodeMayLoseBufferedRecords) {
  ClusterView view = cluster_of(4);
  view.ranges = {range_on(1, {1, 2, 3})};
  view.nodes[2].health = NodeView::Health::kDead;
  const Preflight found = check(view, {NodeId(3)});
  EXPECT_TRUE(found.may_begin());
  EXPECT_NE(found.text().find("warning: n3 is dead"), std::string::npos);
}

TEST_F(PreflightTest, NodesThatLeaveAlreadyCount) {
  ClusterView view = cluster_of(4);
  view.ranges = {range_on(1, {1, 2, 3})};
  view.nodes[3].membership = Membership::kDecommissioning;
  EXPECT_FALSE(check(view, {NodeId(1)}).may_begin());
  view.nodes[3].membership = Membership::kDecommissioned;
  const Preflight again = check(view, {NodeId(4)});
  EXPECT_EQ(again.nodes[0].readiness, "already decommissioned");
  EXPECT_TRUE(again.may_begin());
}

TEST_F(PreflightTest, RefusesNodesThatDoNotExist) {
  EXPECT_EQ(preflight(cluster_of(3), std::vector{NodeId(9)}, Checks::kEnabled, {}, random_).error().code,
            Errc::kNotFound);
  EXPECT_EQ(preflight(cluster_of(3), {}, Checks::kEnabled, {}, random_).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(parse_checks("strict").value(), Checks::kStrict);
  EXPECT_FALSE(parse_checks("lax").ok());
}

}  // namespace
}  // namespace outlast::placement
