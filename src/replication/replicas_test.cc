// One promise a test, on the simulated cluster: rows of protocol A4's table and what callers rely on.
#include "replication/replicas.h"

#include <gtest/gtest.h>

#include "replication/testing/fixture.h"

namespace outlast::replication::testing {
namespace {
using namespace std::chrono_literals;

TEST_F(ReplicasTest, ANewDatabaseIsServedByItsCreatorAlone) {
  EXPECT_TRUE(write());
  EXPECT_EQ(cluster_.node_of(kN2).replicas->find(kRange, Epoch(1)).error().code, Errc::kNotLeaseholder);
  EXPECT_EQ(cluster_.node_of(kN1).replicas->find(kRange, Epoch(2)).error().code, Errc::kNotLeaseholder);
}

TEST_F(ReplicasTest, GrowsToThreeMembersWhileItServes) {
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(write());
  grow();
  EXPECT_EQ(record().rf, 3);
  EXPECT_EQ(record().min_insync, 2);
  EXPECT_TRUE(write());
}

TEST_F(ReplicasTest, ALearnerBehindTheRetainedLogGetsASnapshot) {
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(write());
  ASSERT_TRUE(until([&] { return cluster_.node(1).disk->ranges.at(kRange).start.lsn.value > 0; }));  // log was freed
  grow();
  EXPECT_GT(cluster_.node(2).disk->ranges.at(kRange).start.lsn.value, 0u);
}

TEST_F(ReplicasTest, ASuccessorServesSoonAfterTheLeaseholdersFence) {
  grow();
  ASSERT_TRUE(write());
  const Duration killed = now();
  cluster_.kill(cluster_.node(1));
  ASSERT_TRUE(until([&] { return leader() && *leader() != kN1; }));
  EXPECT_LT(now() - killed, 300ms);  // the supervisor's fence takes up to 105 ms of it
  EXPECT_TRUE(write(*leader()));
  EXPECT_NE(record().find_learner(kN1), nullptr);
}

TEST_F(ReplicasTest, AKilledBackupLeavesSAtOnceAndComesBack) {
  grow();
  cluster_.kill(cluster_.node(3));
  EXPECT_TRUE(write(kN1, 200ms));
  EXPECT_EQ(record().insync.size(), 2u);
  cluster_.start(cluster_.node(3));
  EXPECT_TRUE(until([&] { return record().insync.size() == 3; }));
}

TEST_F(ReplicasTest, ASilentBackupStallsWritesForTheAckTimeoutOnly) {
  grow();
  cluster_.node(3).disk->on_append = [](RangeId, const storage::LogEntry&) {};
  // A stopped process: its tasks do not run, its connections stay.
  cluster_.node(3).loop->end();
  const Duration before = now();
  EXPECT_TRUE(write(kN1, 3s));
  EXPECT_GE(now() - before, 900ms);
  EXPECT_LT(now() - before, 1600ms);
}

TEST_F(ReplicasTest, ATransferMovesTheLeaseAndLosesNothing) {
  grow();
  ASSERT_TRUE(write());
  std::optional<Result<void>> done;
  const Duration before = now();
  cluster_.node(1).replicas->transfer(kRange, kN2, [&](Result<void> result) { done = std::move(result); });
  ASSERT_TRUE(until([&] { return done && leader() == kN2; }));
  EXPECT_TRUE(done->ok());
  EXPECT_LT(now() - before, 100ms);
  EXPECT_EQ(record().insync.size(), 3u);
  EXPECT_TRUE(write(kN2));
}

TEST_F(ReplicasTest, ATransferGivesUpWhileAWriteTransactionStaysOpen) {
  grow();
  const auto lease = cluster_.leader(kRange);
  WriterLock::Hold open;
  lease->writer_lock().acquire(Instant::max(), false, [&](Result<WriterLock::Hold> hold) { open = *std::move(hold); });
  std::optional<Result<void>> done;
  cluster_.node(1).replicas->transfer(kRange, kN2, [&](Result<void> result) { done = std::move(result); });
  cluster_.step(300ms);
  EXPECT_TRUE(lease->admit().ok());  // the gate stays open meanwhile
  ASSERT_TRUE(until([&] { return done.has_value(); }));
  EXPECT_EQ(done->error().code, Errc::kDeadline);
  open.release();
  EXPECT_EQ(leader(), kN1);
  EXPECT_TRUE(write());
}

TEST_F(ReplicasTest, ATransferRefusesWhoIsNotALiveMember) {
  EXPECT_EQ(place(placement::Step::Kind::kTransferLease, kN2).error().code, Errc::kInvalidState);
}

TEST_F(ReplicasTest, AWholeClusterRestartBringsEverythingBack) {
  grow();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(write());
  for (auto& node : cluster_.nodes()) cluster_.kill(*node);
  cluster_.step(200ms);
  for (auto& node : cluster_.nodes()) cluster_.start(*node);
  ASSERT_TRUE(until([&] { return leader().has_value(); }, 2s));  // all of S is there: no need to wait longer
  EXPECT_EQ(record().insync.size(), 3u);
  EXPECT_TRUE(write(*leader()));
}

TEST_F(ReplicasTest, TwoOfThreeComeBackAfterRecoveryWait) {
  grow();
  ASSERT_TRUE(write());
  for (auto& node : cluster_.nodes()) cluster_.kill(*node);
  cluster_.step(200ms);
  cluster_.start(cluster_.node(2));
  cluster_.start(cluster_.node(3));
  ASSERT_TRUE(until([&] { return leader().has_value(); }, 6s));
  EXPECT_TRUE(write(*leader()));
}

TEST_F(ReplicasTest, AFailedSyncTakesTheReplicaOutOfS) {
  grow();
  cluster_.node(3).disk->sync_fails = true;
  EXPECT_TRUE(write(kN1, 3s));
  EXPECT_EQ(record().find_insync(kN3), nullptr);
}

TEST_F(ReplicasTest, AFencedLeaseholderThatLivesAnswersNothingMore) {
  grow();
  const auto lease = cluster_.leader(kRange);
  cluster_.fence_after(kN1, cluster_.node(1).incarnation, 1ms);
  ASSERT_TRUE(until([&] { return !lease->admit().ok(); }));
  EXPECT_EQ(lease->admit().error().code, Errc::kNotLeaseholder);
  EXPECT_FALSE(static_cast<FakeDatabase&>(lease->database()).write("w").ok());
  EXPECT_TRUE(until([&] { return leader() && *leader() != kN1; }));
}

TEST_F(ReplicasTest, ADroppedDatabaseLeavesNoFiles) {
  grow();
  meta::Txn txn;
  txn.then = {meta::Op::del(meta::keys::range(kRange))};
  (void)cluster_.core->apply(txn);
  EXPECT_TRUE(until([&] {
    return std::all_of(cluster_.nodes().begin(), cluster_.nodes().end(),
                       [](const auto& node) { return node->disk->ranges.empty(); });
  }));
  EXPECT_FALSE(leader());
}

TEST_F(ReplicasTest, ARemovedReplicaIsDeletedAndForgotten) {
  grow();
  ASSERT_TRUE(place(placement::Step::Kind::kRemoveReplica, kN3).ok());
  EXPECT_TRUE(until([&] { return record().removed.empty() && cluster_.node(3).disk->ranges.empty(); }));
  ASSERT_TRUE(place(placement::Step::Kind::kAddReplica, kN3).ok());
  EXPECT_TRUE(until([&] { return record().find_insync(kN3) != nullptr; }));
  EXPECT_GT(record().find_insync(kN3)->replica, ReplicaId(3));
}

TEST_F(ReplicasTest, DigestsOfAllMembersAgree) {
  grow();
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(write());
  cluster_.step(1s);
  std::vector<storage::Digest> digests;
  for (auto& node : cluster_.nodes())
    node->replicas->digest(kRange, [&](Result<storage::Digest> digest) { digests.push_back(digest.value()); });
  ASSERT_TRUE(until([&] { return digests.size() == 3; }));
  for (const auto& digest : digests) EXPECT_EQ(digest.at, digests[0].at);
}

TEST_F(ReplicasTest, AGracefulStopGivesTheLeasesAway) {
  grow();
  std::optional<std::size_t> left;
  cluster_.node(1).replicas->shutdown(5s, [&](Result<std::size_t> result) { left = result.value(); });
  ASSERT_TRUE(until([&] { return left.has_value(); }, 1s));
  EXPECT_EQ(left, 0u);
  EXPECT_TRUE(until([&] { return leader() && *leader() != kN1; }, 1s));
}

TEST_F(ReplicasTest, AnIdleRangeNeedsNoTimer) {
  grow();
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(write());
  cluster_.step(10s);
  EXPECT_EQ(cluster_.world.timer_count(), 0u);
}

}  // namespace
}  // namespace outlast::replication::testing
