#include "placement/replication_factor.h"

#include <gtest/gtest.h>

namespace outlast::placement {
namespace {

RangeConfig of_five() {
  RangeConfig config = create_range(RangeId(1), DatabaseId(1), NodeId(1), "s1", Incarnation(1));
  for (std::uint32_t id = 2; id <= 5; ++id) {
    config = add_learner(config, NodeId(id), "s" + std::to_string(id)).value();
    config = promote_learner(config, NodeId(id), "s" + std::to_string(id), 5).value();
  }
  return config;
}

TEST(ReplicationFactor, IsWhatTheNodesAllowAndOddAboveThree) {
  EXPECT_EQ(affordable_replicas(5, 9), 5);
  EXPECT_EQ(affordable_replicas(5, 4), 3);
  EXPECT_EQ(affordable_replicas(7, 6), 5);
  EXPECT_EQ(affordable_replicas(3, 2), 2);
  EXPECT_EQ(affordable_replicas(4, 9), 4);  // what somebody asked for
}

TEST(ReplicationFactor, IsNeverReducedBelowThree) {
  EXPECT_EQ(reduced_replicas(5, 4), 3);
  EXPECT_EQ(reduced_replicas(5, 2), 3);
  EXPECT_EQ(reduced_replicas(3, 2), 3);
  EXPECT_EQ(reduced_replicas(1, 0), 1);
  EXPECT_EQ(reduced_replicas(5, 5), 5);
}

TEST(ReplicationFactor, ReductionChangesEverythingAtOnce) {
  const RangeConfig before = of_five();
  const RangeConfig after = reduce_replication(before, NodeId(5), 3).value();
  EXPECT_EQ(after.cfg, before.cfg.next());
  EXPECT_EQ(after.epoch, before.epoch);
  EXPECT_EQ(after.rf, 3);
  EXPECT_EQ(after.min_insync, 2);
  EXPECT_EQ(after.find(NodeId(5)), nullptr);
  ASSERT_EQ(after.removed.size(), 1U);
  EXPECT_EQ(after.removed[0], *before.find_insync(NodeId(5)));
  EXPECT_EQ(after.insync.size(), 4U);
}

TEST(ReplicationFactor, ReductionIsRefusedWhereItWouldBeOne) {
  const RangeConfig five = of_five();
  EXPECT_FALSE(reduce_replication(five, NodeId(5), 1).ok());
  EXPECT_FALSE(reduce_replication(five, NodeId(5), 4).ok());
  EXPECT_FALSE(reduce_replication(five, NodeId(5), 5).ok());
  EXPECT_FALSE(reduce_replication(five, NodeId(9), 3).ok());
  EXPECT_FALSE(reduce_replication(five, NodeId(1), 3).ok());  // leads
  RangeConfig small = five;
  small.insync.resize(3);
  EXPECT_FALSE(reduce_replication(small, NodeId(3), 3).ok());
}

}  // namespace
}  // namespace outlast::placement
