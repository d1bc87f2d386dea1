// kv.snapshot_rebalance.max_rate: how fast a learner is filled.
#include <gtest/gtest.h>

#include "replication/replicas.h"
#include "replication/testing/sim_cluster.h"

namespace outlast::replication::testing {
namespace {
using namespace std::chrono_literals;

constexpr RangeId kRange{1};
constexpr NodeId kN1{1};

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

}  // namespace
}  // namespace outlast::replication::testing
