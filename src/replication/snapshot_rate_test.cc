// How fast a learner is filled (kv.snapshot_rebalance.max_rate), and what a leaseholder does that cannot fill it.
#include "replication/testing/fixture.h"

namespace outlast::replication::testing {
namespace {

TEST(SnapshotRate, PacesASnapshotAndCanBeRaisedWhileTheNodeRuns) {
  SimCluster cluster(13, 3);
  const auto until = [&](const std::function<bool()>& done, Duration limit) {
    for (Duration passed{}; passed < limit && !done(); passed += 1ms) cluster.step(1ms);
    return done();
  };
  cluster.parameters.batch_bytes = 500;  // the simulated file has 3,000 bytes
  cluster.parameters.snapshot_rate = 1'000;
  for (auto& node : cluster.nodes()) cluster.kill(*node);
  cluster.step(200ms);
  for (auto& node : cluster.nodes()) cluster.start(*node);
  cluster.step(20ms);
  cluster.create_range(kRange, kN1);
  ASSERT_TRUE(until([&] { return cluster.leader(kRange) != nullptr; }, 5s));
  for (int i = 0; i < 100; ++i) {
    const auto before = cluster.acknowledged;
    cluster.write(cluster.node(1), kRange);
    ASSERT_TRUE(until([&] { return cluster.acknowledged > before; }, 5s));
  }
  ASSERT_TRUE(until([&] { return cluster.node(1).disk->ranges.at(kRange).start.lsn.value > 0; }, 5s));  // log was freed
  const auto fill = [&](std::uint32_t id) {
    const Instant began = cluster.world.now();
    cluster.node(1).replicas->place({placement::Step::Kind::kAddReplica, kRange, NodeId(id), 3}, [](Result<void>) {});
    EXPECT_TRUE(until([&] { return cluster.record(kRange)->find_insync(NodeId(id)) != nullptr; }, 20s));
    return cluster.world.now() - began;
  };
  EXPECT_GE(fill(2), 2500ms);  // the first piece at once, five more of half a second each
  cluster.node(1).replicas->set_snapshot_rate(0);
  EXPECT_LT(fill(3), 1s);
  EXPECT_EQ(cluster.violation, "");
}

TEST_F(ReplicasTest, ALearnerThatIsRemovedWhileItsSnapshotArrivesMakesRoomForTheNext) {
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(write());
  ASSERT_TRUE(until([&] { return cluster_.node(1).disk->ranges.at(kRange).start.lsn.value > 0; }));  // log was freed
  for (int tenths = 0;; ++tenths) {  // whatever it is doing, until it is a member so soon
    ASSERT_TRUE(place(placement::Step::Kind::kAddReplica, kN2).ok());
    cluster_.step(std::chrono::microseconds(100 * tenths));
    if (!place(placement::Step::Kind::kRemoveReplica, kN2).ok()) break;
    ASSERT_TRUE(until([&] { return record().removed.empty(); })) << tenths;
  }
  EXPECT_TRUE(until([&] { return record().find_insync(kN2) != nullptr; }));
}

TEST_F(ReplicasTest, ASnapshotThatFailsIsTriedAgainAfterAPause) {
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(write());
  FakeDisk& disk = *cluster_.node(1).disk;
  ASSERT_TRUE(until([&] { return disk.ranges.at(kRange).start.lsn.value > 0; }));  // log was freed
  disk.snapshot_fails = true;
  ASSERT_TRUE(place(placement::Step::Kind::kAddReplica, kN2).ok());
  cluster_.step(3500ms);
  EXPECT_GE(disk.snapshots, 3);
  EXPECT_LE(disk.snapshots, 5);
  disk.snapshot_fails = false;
  EXPECT_TRUE(until([&] { return record().find_insync(kN2) != nullptr; }));
}

}  // namespace
}  // namespace outlast::replication::testing
