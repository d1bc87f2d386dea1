// Replicas whose disk fails (protocol A4.8).
#include "replication/testing/fixture.h"

namespace outlast::replication::testing {
namespace {

class DiskFailureTest : public ReplicasTest {
 protected:
  /// The process ends, as its node sees to, and the next one finds a disk that works.
  void restart(NodeId node) {
    cluster_.kill(cluster_.node_of(node));
    cluster_.node_of(node).disk->sync_fails = false;
    cluster_.step(200ms);
    cluster_.start(cluster_.node_of(node));
  }
  FakeDisk& disk(NodeId node) { return *cluster_.node_of(node).disk; }
};

TEST_F(DiskFailureTest, TheNextProcessOfABackupDoesNotTrustTheReplica) {
  grow();
  const ReplicaId old = record().find_insync(kN3)->replica;
  disk(kN3).sync_fails = true;
  ASSERT_TRUE(write(kN1, 3s));
  ASSERT_TRUE(until([&] { return cluster_.disk_failures[kN3] > 0; })) << "the process is told to end";
  EXPECT_TRUE(disk(kN3).distrusted.contains(kRange));
  restart(kN3);
  ASSERT_TRUE(until([&] { return record().find(kN3) == nullptr; })) << "out of S, then out of the range";
  ASSERT_TRUE(place(placement::Step::Kind::kAddReplica, kN3).ok());
  ASSERT_TRUE(until([&] { return record().find_insync(kN3) != nullptr; }));
  EXPECT_GT(record().find_insync(kN3)->replica, old);
  EXPECT_TRUE(disk(kN3).distrusted.empty());
  EXPECT_TRUE(write());
}

TEST_F(DiskFailureTest, ALeaseholderStandsDownAndComesBackAsALearner) {
  grow();
  ASSERT_TRUE(write());
  disk(kN1).sync_fails = true;
  cluster_.write(cluster_.node_of(kN1), kRange);
  ASSERT_TRUE(until([&] { return leader() && *leader() != kN1; }));
  ASSERT_TRUE(until([&] { return cluster_.disk_failures[kN1] > 0; }));
  restart(kN1);
  ASSERT_TRUE(write(*leader()));
  ASSERT_TRUE(until([&] { return record().find(kN1) == nullptr; }, 10s));
  ASSERT_TRUE(place(placement::Step::Kind::kAddReplica, kN1).ok());
  EXPECT_TRUE(until([&] { return record().find_insync(kN1) != nullptr; }));
}

TEST_F(DiskFailureTest, TheOnlyReplicaIsSalvagedByTheNextProcess) {
  ASSERT_TRUE(write());
  disk(kN1).sync_fails = true;
  cluster_.write(cluster_.node_of(kN1), kRange);
  ASSERT_TRUE(until([&] { return cluster_.disk_failures[kN1] > 0; }));
  EXPECT_TRUE(disk(kN1).distrusted.contains(kRange));
  restart(kN1);
  ASSERT_TRUE(until([&] { return leader() == kN1; }, 10s)) << "nobody else has what clients were told";
  EXPECT_TRUE(disk(kN1).distrusted.empty());
  EXPECT_TRUE(write());
}

}  // namespace
}  // namespace outlast::replication::testing
