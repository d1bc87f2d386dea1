#include "server/cluster_state.h"

#include <gtest/gtest.h>

#include "meta/decommissions.h"
#include "server/node_status_writer.h"
#include "tests/support/sim_loop.h"
#include "tests/support/sim_store.h"

namespace outlast::server {
namespace {
using namespace std::chrono_literals;
using testing_support::SimLoop;
using testing_support::SimMetadata;
using testing_support::SimStore;

constexpr liveness::Peer kOne{NodeId(1), Incarnation(1)}, kTwo{NodeId(2), Incarnation(4)};

/// What node 1 knows, and a node 2 that can fall silent.
class ClusterStateTest : public testing::Test {
 protected:
  ClusterStateTest() {
    state_.attach(one_, office_);
    for (const liveness::Peer peer : {kOne, kTwo})
      put(meta::keys::node(peer.node), encode(meta::NodeRecord{.node = peer.node,
                                                               .store_uuid = "s" + peer.node.to_string(),
                                                               .incarnation = peer.incarnation,
                                                               .locality = *placement::parse_locality("zone=a")}));
    one_.start(meta::Phase::kLive, [](const Result<void>&) {});
    two_->start(meta::Phase::kLive, [](const Result<void>&) {});
    advance(3s);
  }
  static meta::LivenessDriver::Options options(liveness::Peer self) {
    return {self, "host:" + self.to_string(), {.renew = 1s, .ttl = 5s}, self.node.value, nullptr};
  }
  void put(std::string key, std::string value) {
    store_.txn({.compares = {}, .then = {meta::Op::put(std::move(key), std::move(value))}, .otherwise = {}}, 1s,
               [](auto) {});
    loop_.run_ready();
  }
  void set_membership(meta::Membership membership) {
    put(meta::keys::node(kTwo.node),
        encode(meta::NodeRecord{.node = kTwo.node, .store_uuid = "s2", .membership = membership}));
  }
  void advance(Duration time) {
    for (Duration passed{0}; passed < time; passed += 1s) {
      loop_.advance(1s);
      state_.look(loop_.now());
    }
  }
  proto::NodeStatus status(NodeId node) const {
    for (const auto& each : state_.node_status().nodes())
      if (each.id() == node.value) return each;
    return {};
  }
  SimLoop loop_;
  std::shared_ptr<SimMetadata> data_ = std::make_shared<SimMetadata>();
  SimStore store_{data_, loop_}, other_{data_, loop_};
  ClusterState state_{store_, loop_};
  meta::LivenessDriver one_{store_, loop_, options(kOne)};
  std::unique_ptr<meta::LivenessDriver> two_ = std::make_unique<meta::LivenessDriver>(other_, loop_, options(kTwo));
  meta::Office office_{store_, loop_, kOne, one_.fences()};
};

TEST_F(ClusterStateTest, ASilentNodeIsDeadAfterItsTimeButNotInMaintenance) {
  two_.reset();
  advance(60s);
  EXPECT_FALSE(state_.is_dead(kTwo.node));
  EXPECT_EQ(status(kTwo.node).liveness(), "fenced");
  put(meta::keys::maintenance(kTwo.node),
      encode(meta::MaintenanceRecord{.node = kTwo.node,
                                     .until_micros = loop_.wall_micros() + std::chrono::microseconds(10min).count(),
                                     .by = "op"}));
  advance(6min);
  EXPECT_FALSE(state_.is_dead(kTwo.node));
  EXPECT_GT(status(kTwo.node).maintenance_until_micros(), loop_.wall_micros());
  advance(5min);
  EXPECT_TRUE(state_.is_dead(kTwo.node)) << "it is over by itself";
  EXPECT_EQ(status(kTwo.node).maintenance_until_micros(), 0);
  EXPECT_EQ(status(kTwo.node).liveness(), "dead");
  const placement::ClusterView view = state_.placement_view();
  EXPECT_EQ(view.nodes.at(1).health, placement::NodeView::Health::kDead);
}

TEST_F(ClusterStateTest, OnlyActiveNodesGetReplicasAndOnlyWhileTheyAreIt) {
  const auto admitted = state_.admit_replica(kTwo.node);
  ASSERT_TRUE(admitted.ok());
  ASSERT_EQ(admitted->size(), 1U);
  set_membership(meta::Membership::kDecommissioning);
  EXPECT_EQ(state_.admit_replica(kTwo.node).error().code, Errc::kInvalidState);
  EXPECT_EQ(state_.admit_replica(NodeId(9)).error().code, Errc::kNotFound);
  std::optional<bool> applied;
  other_.txn({.compares = *admitted, .then = {meta::Op::put("/r/1", "x")}, .otherwise = {}}, 1s,
             [&](Result<meta::TxnReply> reply) { applied = reply.ok() && reply->succeeded; });
  loop_.run_ready();
  EXPECT_EQ(applied, false) << "an addition that began before the mark fails after it";
}

TEST_F(ClusterStateTest, ADecommissionedNodeIsNobodyAnyMore) {
  EXPECT_EQ(state_.live(kTwo.node), kTwo.incarnation);
  EXPECT_TRUE(state_.peers(kOne.node).contains(kTwo.node));
  set_membership(meta::Membership::kDecommissioning);
  EXPECT_EQ(state_.live(kTwo.node), kTwo.incarnation) << "it serves as a gateway until it has drained";
  set_membership(meta::Membership::kDecommissioned);
  EXPECT_FALSE(state_.live(kTwo.node)) << "although its process still runs";
  EXPECT_TRUE(state_.gone_for_good(kTwo.node));
  EXPECT_FALSE(state_.peers(kOne.node).contains(kTwo.node));
  EXPECT_FALSE(status(kTwo.node).is_live());
  EXPECT_FALSE(status(kTwo.node).is_fenced_for_good()) << "its process has not fenced itself yet";
  put(meta::keys::fence(kTwo), "{}");
  loop_.advance(1s);
  EXPECT_TRUE(status(kTwo.node).is_fenced_for_good());
  EXPECT_EQ(status(kTwo.node).liveness(), "fenced");
}

TEST_F(ClusterStateTest, PlacementKnowsWhereANodeStandsAndWhatRoomItHas) {
  put(meta::keys::status(kOne.node),
      encode(meta::NodeStatusRecord{
          .peer = kOne, .disk = {.capacity_bytes = 100, .used_bytes = 40, .available_bytes = 60}, .inputs = 2}));
  const placement::NodeView one = state_.placement_view().nodes.at(0);
  EXPECT_EQ(placement::to_string(one.locality), "zone=a");
  EXPECT_EQ(one.disk.available_bytes, 60U);
  EXPECT_EQ(one.inputs, 2U);
  EXPECT_TRUE(one.frontend);
  EXPECT_EQ(status(kOne.node).locality(), "zone=a");
  EXPECT_EQ(status(kOne.node).disk_capacity(), 100U);
}

TEST_F(ClusterStateTest, PlacementKnowsTheReplicationFactorOfADatabase) {
  for (const unsigned id : {1U, 2U}) {
    meta::DatabaseRecord database{.id = DatabaseId(id), .name = "d" + std::to_string(id), .range = RangeId(id)};
    if (id == 2) database.replication_factor = 5;
    put(meta::keys::database(database.name), encode(database));
    put(meta::keys::range(database.range),
        placement::encode(placement::create_range(database.range, database.id, kOne.node, "s1", kOne.incarnation)));
  }
  const placement::ClusterView view = state_.placement_view();
  ASSERT_EQ(view.ranges.size(), 2U);
  EXPECT_EQ(view.ranges[0].replication_factor, 0) << "the cluster's";
  EXPECT_EQ(view.ranges[1].replication_factor, 5);
}

TEST_F(ClusterStateTest, AProcessThatEndsIsShutDownAndNotDeadUntilItIsGone) {
  EXPECT_EQ(status(kTwo.node).status_code(), "OK");
  EXPECT_EQ(status(kTwo.node).err_msg(), "");
  two_->set_phase(meta::Phase::kLeaving);
  advance(1s);
  EXPECT_EQ(status(kTwo.node).status_code(), "SHUTDOWN");
  EXPECT_TRUE(state_.exiting(kTwo.node) && state_.draining(kTwo.node)) << "it is given nothing new";
  EXPECT_TRUE(state_.live(kTwo.node)) << "and what it has is its own";
  two_->set_phase(meta::Phase::kLive);
  advance(1s);
  EXPECT_EQ(status(kTwo.node).status_code(), "OK");
  two_->set_phase(meta::Phase::kLeaving);
  two_->fence_self("stopped", [](const Result<void>&) {});
  advance(1s);
  EXPECT_EQ(status(kTwo.node).status_code(), "DISCONNECTED");
  EXPECT_FALSE(state_.draining(kTwo.node));
}

TEST_F(ClusterStateTest, AProcessThatIsSilentWhileItEndsIsNoOtherThanOneThatIsNot) {
  two_->set_phase(meta::Phase::kLeaving);
  advance(1s);
  two_.reset();
  advance(3s);
  EXPECT_EQ(status(kTwo.node).liveness(), "suspect");
  EXPECT_EQ(status(kTwo.node).status_code(), "SHUTDOWN");
  advance(60s);
  EXPECT_EQ(status(kTwo.node).status_code(), "DISCONNECTED");
}

TEST_F(ClusterStateTest, OnlyBackendsAreGivenReplicas) {
  put(meta::keys::node(kTwo.node),
      encode(meta::NodeRecord{
          .node = kTwo.node, .store_uuid = "s2", .roles = {.frontend = true, .backend = false, .compute = true}}));
  EXPECT_EQ(state_.admit_replica(kTwo.node).error().code, Errc::kInvalidState);
  EXPECT_TRUE(state_.admit_replica(kOne.node).ok());
  const placement::NodeView two = state_.placement_view().nodes.at(1);
  EXPECT_TRUE(two.frontend && !two.backend);
  EXPECT_EQ(status(kTwo.node).roles(), "frontend,compute");
}

TEST_F(ClusterStateTest, ANodeTellsOfItsDiskSeldomAndOfItsBuffersAtOnce) {
  NodeStatusWriter writer(store_, loop_);
  meta::NodeStatusRecord now{.peer = kOne, .disk = {.capacity_bytes = 1'000, .available_bytes = 500}};
  const auto known = [&] {
    writer.look(now);
    loop_.run_ready();
    return state_.statuses().find(meta::keys::status(kOne.node))->value;
  };
  EXPECT_EQ(known().disk.available_bytes, 500U);
  now.disk.available_bytes = 400;
  EXPECT_EQ(known().disk.available_bytes, 500U);
  loop_.advance(5s);
  EXPECT_EQ(known().disk.available_bytes, 400U);
  now.buffer_bytes = 7;
  EXPECT_EQ(known().buffer_bytes, 7U);
  now.buffer_bytes = 0;
  store_.fault = [n = 1](const meta::Txn&) mutable {
    return n-- > 0 ? SimStore::Fault::kRefuse : SimStore::Fault::kNone;
  };
  EXPECT_EQ(known().buffer_bytes, 7U) << "not written";
  EXPECT_EQ(known().buffer_bytes, 0U) << "and tried again";
}

}  // namespace
}  // namespace outlast::server
