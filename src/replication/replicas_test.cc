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

// --- Nodes that leave service (A7).
TEST_F(ReplicasTest, ANodeThatStepsOutLeavesSAsFarAsAllowedAndComesBack) {
  grow();
  const auto leave = [&](std::set<NodeId> nodes) {
    cluster_.stepping_out = std::move(nodes);
    cluster_.node(1).replicas->nodes_changed();
  };
  leave({kN3});
  ASSERT_TRUE(until([&] { return record().insync.size() == 2; })) << "although the range is idle";
  EXPECT_NE(record().find_learner(kN3), nullptr);
  EXPECT_TRUE(write());
  leave({kN2, kN3});
  cluster_.step(3s);
  EXPECT_EQ(record().insync.size(), 2u) << "S never shrinks below min_insync";
  EXPECT_EQ(record().find_insync(kN3), nullptr) << "and nobody who leaves is promoted";
  leave({});
  EXPECT_TRUE(until([&] { return record().insync.size() == 3; })) << "undrained";
}

TEST_F(ReplicasTest, ADrainingNodeGetsNeitherLeasesNorLearners) {
  ASSERT_TRUE(place(placement::Step::Kind::kAddReplica, kN2).ok());
  ASSERT_TRUE(until([&] { return record().find_insync(kN2) != nullptr; }));
  cluster_.draining = {kN2, kN3};
  EXPECT_EQ(place(placement::Step::Kind::kAddReplica, kN3).error().code, Errc::kInvalidState);
  EXPECT_EQ(place(placement::Step::Kind::kTransferLease, kN2).error().code, Errc::kInvalidState);
  EXPECT_TRUE(write()) << "refused before anything was closed";
}

TEST_F(ReplicasTest, ANodeThatLeavesTheClusterGetsNoReplicaWhateverTheLeaseholderKnows) {
  const std::string record_key = "/nodes/2";
  const auto put = [&](const char* membership) {
    meta::Txn txn;
    txn.then = {meta::Op::put(record_key, membership)};
    return cluster_.core->apply(txn).revision;
  };
  const Revision active = put("active");
  cluster_.admit = [&](NodeId) { return std::vector{meta::Compare::unchanged(record_key, active)}; };
  put("decommissioning");  // and the leaseholder has not heard of it
  EXPECT_EQ(place(placement::Step::Kind::kAddReplica, kN2).error().code, Errc::kMetaConflict);
  EXPECT_EQ(record().find(kN2), nullptr);
  cluster_.admit = [&](NodeId) -> Result<std::vector<meta::Compare>> { return Error(Errc::kInvalidState, "leaves"); };
  EXPECT_EQ(place(placement::Step::Kind::kAddReplica, kN2).error().code, Errc::kInvalidState);
  EXPECT_TRUE(write()) << "the range goes on";
  cluster_.admit = nullptr;
  EXPECT_TRUE(place(placement::Step::Kind::kAddReplica, kN2).ok()) << "recommissioned";
}

TEST_F(ReplicasTest, ARemovedReplicaThatIsStillReadIsDeletedAfterwards) {
  grow();
  cluster_.node(3).disk->in_use = 3;
  ASSERT_TRUE(place(placement::Step::Kind::kRemoveReplica, kN3).ok());
  const Instant left = cluster_.world.now();
  EXPECT_TRUE(until([&] { return record().removed.empty(); }));
  EXPECT_LT(cluster_.world.now() - left, 150ms) << "who reads it is mostly done in a moment";
  EXPECT_FALSE(cluster_.node(3).disk->ranges.contains(kRange));
  EXPECT_TRUE(place(placement::Step::Kind::kAddReplica, kN3).ok());
  EXPECT_TRUE(until([&] { return record().find_insync(kN3) != nullptr; }));
}

TEST_F(ReplicasTest, TheEndOfADeletionIsHeardOfWhenTheConnectionIsBack) {
  grow();
  cluster_.cut(kN1, kN3);
  ASSERT_TRUE(place(placement::Step::Kind::kRemoveReplica, kN3).ok());
  ASSERT_TRUE(until([&] { return !cluster_.node(3).disk->ranges.contains(kRange); }));
  cluster_.step(3s);
  EXPECT_EQ(record().removed.size(), 1U);
  cluster_.heal(kN1, kN3);
  EXPECT_TRUE(until([&] { return record().removed.empty(); }));
}

TEST_F(ReplicasTest, AReplicaOfANodeThatIsGoneForGoodIsForgotten) {
  grow();
  cluster_.kill(cluster_.node(3));
  ASSERT_TRUE(place(placement::Step::Kind::kRemoveReplica, kN3).ok());
  cluster_.step(3s);
  EXPECT_EQ(record().removed.size(), 1U) << "it may come back and has to delete it first";
  cluster_.gone = {kN3};
  for (const auto& node : cluster_.nodes())
    if (node->up()) node->replicas->nodes_changed();
  EXPECT_TRUE(until([&] { return record().removed.empty(); }));
}

TEST_F(ReplicasTest, ADrainingNodeTakesARangeOverOnlyWhenNobodyElseDoes) {
  grow();
  cluster_.draining = {kN2};
  cluster_.kill(cluster_.node(1));
  ASSERT_TRUE(until([&] { return leader() && *leader() != kN1; }));
  EXPECT_EQ(leader(), kN3);
  cluster_.start(cluster_.node(1));
  ASSERT_TRUE(until([&] { return record().insync.size() == 3; }));
  cluster_.draining = {kN1, kN2};
  cluster_.kill(cluster_.node(3));
  EXPECT_TRUE(until([&] { return leader() && *leader() != kN3; })) << "rather a draining leaseholder than none";
}

// --- Confirmed reads (A4.6 b).
TEST_F(ReplicasTest, ReadsAreConfirmedByAllOtherMembersInOneRoundTrip) {
  grow();
  cluster_.fast_reads = false;
  EXPECT_FALSE(cluster_.leader(kRange)->reads_allowed(cluster_.world.now()));
  std::vector<std::shared_ptr<std::optional<Result<void>>>> reads;
  for (int i = 0; i < 50; ++i) reads.push_back(confirm());
  ASSERT_TRUE(
      until([&] { return std::all_of(reads.begin(), reads.end(), [](const auto& r) { return r->has_value(); }); }));
  for (const auto& read : reads) EXPECT_TRUE((*read)->ok());
  EXPECT_EQ(questions(), 2u) << "one question to each of the two other members";
}

TEST_F(ReplicasTest, AReadThatComesDuringARoundWaitsForTheNext) {
  grow();
  const auto first = confirm();
  ASSERT_TRUE(until([&] { return questions() == 2; }));
  const auto second = confirm();
  ASSERT_TRUE(until([&] { return first->has_value() && second->has_value(); }));
  EXPECT_EQ(questions(), 4u) << "the answers to the first round may be older than the second snapshot";
}

TEST_F(ReplicasTest, ReadsAndWritesGoOnWithoutMetadata) {
  grow();
  cluster_.fast_reads = false;
  for (auto& node : cluster_.nodes()) node->weather->cut = true;
  cluster_.step(20s);
  for (int i = 0; i < 20; ++i) {
    EXPECT_TRUE(write());
    const auto read = confirm();
    ASSERT_TRUE(until([&] { return read->has_value(); }));
    EXPECT_TRUE((*read)->ok());
  }
}

TEST_F(ReplicasTest, WithoutMetadataADeadBackupHoldsReadsUntilItIsBack) {
  grow();
  for (auto& node : cluster_.nodes()) node->weather->cut = true;
  cluster_.kill(cluster_.node(3));
  const auto refused = confirm();
  ASSERT_TRUE(until([&] { return refused->has_value(); }));
  EXPECT_EQ((*refused)->error().code, Errc::kRangeUnavailable);
  const auto read = confirm();
  cluster_.step(100ms);
  EXPECT_FALSE(read->has_value());
  cluster_.node(3).weather->cut = false;  // a process cannot start without metadata; the leaseholder's stays away
  cluster_.start(cluster_.node(3));
  ASSERT_TRUE(until([&] { return read->has_value(); }));
  EXPECT_TRUE((*read)->ok());
}

TEST_F(ReplicasTest, WithMetadataASilentBackupHoldsReadsForTheAckTimeoutOnly) {
  grow();
  cluster_.node(3).loop->end();  // stopped: its connections stay
  const Duration before = now();
  const auto read = confirm();
  ASSERT_TRUE(until([&] { return read->has_value(); }));
  EXPECT_TRUE((*read)->ok());
  EXPECT_GE(now() - before, 900ms);
  EXPECT_LT(now() - before, 1600ms);
  EXPECT_EQ(record().find_insync(kN3), nullptr);
}

TEST_F(ReplicasTest, ASoleReplicaReadsWhileItsDeadlineLastsAndThenStops) {
  const auto covered = confirm();
  ASSERT_TRUE(until([&] { return covered->has_value(); }));
  EXPECT_TRUE((*covered)->ok());
  cluster_.fast_reads = false;
  const auto read = confirm();
  ASSERT_TRUE(until([&] { return read->has_value(); }));
  EXPECT_EQ((*read)->error().code, Errc::kNoLeaseholder);
}

TEST_F(ReplicasTest, ADeposedLeaseholderThatDoesNotKnowItConfirmsNothing) {
  grow();
  cluster_.node(1).weather->cut = true;  // it hears of no fence and no record
  cluster_.fence_after(kN1, cluster_.node(1).incarnation, 1ms);
  ASSERT_TRUE(until([&] { return leader() && *leader() != kN1; }));
  const auto stale = cluster_.node(1).replicas->find(kRange, Epoch());
  if (!stale.ok()) return;  // the new leaseholder's Activate told it
  const auto read = confirm();
  ASSERT_TRUE(until([&] { return read->has_value(); }));
  EXPECT_EQ((*read)->error().code, Errc::kNotLeaseholder);
}

// --- Lazy removal (A3).
TEST_F(ReplicasTest, AnIdleRangeKeepsADeadBackupInSForAWhile) {
  grow();
  const auto before = record();
  cluster_.kill(cluster_.node(3));
  cluster_.step(190ms);
  EXPECT_EQ(record(), before) << "a node's end costs idle ranges no change";
  EXPECT_TRUE(until([&] { return record().find_insync(kN3) == nullptr; }, 100ms)) << "removal.idle has passed";
}

TEST_F(ReplicasTest, AnIdleRangeTakesABackupBackThatWasAwayForAMoment) {
  grow();
  const auto before = record();
  cluster_.kill(cluster_.node(3));
  cluster_.step(50ms);
  cluster_.start(cluster_.node(3));
  cluster_.step(1s);
  EXPECT_EQ(record(), before);
  EXPECT_TRUE(write(kN1, 200ms));
  EXPECT_EQ(record(), before);
}

TEST_F(ReplicasTest, ATakeOverDoesNotWaitForABackupThatIsKnownToBeGone) {
  grow();
  cluster_.kill(cluster_.node(3));
  cluster_.kill(cluster_.node(1));  // the range was idle: node 3 is still in S
  const Duration before = now();
  cluster_.start(cluster_.node(1));
  ASSERT_TRUE(until([&] { return leader() == kN2; }, 10s));
  EXPECT_LT(now() - before, 900ms) << "less than repl.ack_timeout";
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
  EXPECT_TRUE(until([&] { return record().insync.size() == 3u; }, 1s)) << "who led before comes back as a learner";
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

TEST_F(ReplicasTest, WhoAsksForAMoveWhileTheLeaseMovesHearsOfItsEnd) {
  grow();
  ASSERT_TRUE(write());
  std::optional<Result<void>> first, second;
  cluster_.node_of(kN1).replicas->transfer(kRange, kN2, [&](Result<void> r) { first = std::move(r); });
  cluster_.node_of(kN1).replicas->transfer(kRange, kN3, [&](Result<void> r) { second = std::move(r); });
  EXPECT_FALSE(second.has_value());
  ASSERT_TRUE(until([&] { return first && second; }));
  EXPECT_TRUE(first->ok());
  EXPECT_EQ(second->error().code, Errc::kMoving);
  ASSERT_TRUE(until([&] { return leader() == kN2; }));
}

// --- Damage that a scrub finds (A4.8).
TEST_F(ReplicasTest, AScrubTakesADamagedBackupOutAndItIsRebuilt) {
  grow();
  ASSERT_TRUE(write());
  const ReplicaId bad = record().find_insync(kN3)->replica;
  cluster_.node(3).disk->flipped.insert(kRange);
  cluster_.node(3).replicas->set_scrub_rate(1U << 20);
  ASSERT_TRUE(until([&] { return record().find(kN3) == nullptr; })) << "though the range is idle";
  EXPECT_TRUE(write());
  ASSERT_TRUE(place(placement::Step::Kind::kAddReplica, kN3).ok());
  ASSERT_TRUE(until([&] { return record().find_insync(kN3) != nullptr; }));
  EXPECT_GT(record().find_insync(kN3)->replica, bad);
}

TEST_F(ReplicasTest, AScrubMakesADamagedLeaseholderStandDown) {
  grow();
  ASSERT_TRUE(write());
  cluster_.node(1).disk->flipped.insert(kRange);
  cluster_.node(1).replicas->set_scrub_rate(1U << 20);
  ASSERT_TRUE(until([&] { return leader() && *leader() != kN1; }));
  EXPECT_TRUE(write(*leader()));
  EXPECT_TRUE(until([&] { return record().find_insync(kN1) == nullptr; }));
}

TEST_F(ReplicasTest, AScrubGoesOverSoundReplicasAgainAndAgain) {
  grow();
  cluster_.node(1).replicas->set_scrub_rate(1U << 20);
  ASSERT_TRUE(until([&] { return cluster_.node(1).replicas->scrub_passes() >= 3; }));
  cluster_.node(1).replicas->set_scrub_rate(0);
  const auto before = cluster_.node(1).replicas->scrub_passes();
  cluster_.step(5s);
  EXPECT_EQ(cluster_.node(1).replicas->scrub_passes(), before);
  EXPECT_TRUE(write());
}

TEST_F(ReplicasTest, AllLeasesMoveTogetherAndShareTransactions) {
  for (std::uint64_t i = 100; i < 200; ++i) cluster_.create_range(RangeId(i), kN1);
  const auto leases = [&](NodeId node) { return cluster_.node_of(node).replicas->stats().leases; };
  ASSERT_TRUE(until([&] { return leases(kN1) == 101; }));
  for (std::uint64_t i = 100; i < 200; ++i)
    for (const NodeId node : {kN2, kN3})
      cluster_.node(1).replicas->place({placement::Step::Kind::kAddReplica, RangeId(i), node, 3}, [](Result<void>) {});
  ASSERT_TRUE(until(
      [&] {
        for (std::uint64_t i = 100; i < 200; ++i)
          if (cluster_.record(RangeId(i))->insync.size() < 3) return false;
        return true;
      },
      30s));
  cluster_.core->transactions = 0;
  std::optional<LeaseTransferProgress> moved;
  cluster_.node(1).replicas->transfer_all({}, [&](Result<LeaseTransferProgress> p) { moved = *std::move(p); });
  ASSERT_TRUE(until([&] { return moved.has_value(); }));
  EXPECT_EQ(moved->moved, 100U);
  ASSERT_EQ(moved->failed.size(), 1U) << "the first range has no other member";
  EXPECT_EQ(moved->failed[0].range, kRange);
  EXPECT_LT(cluster_.core->transactions, 60U);
  ASSERT_TRUE(until([&] { return leases(kN1) == 1 && leases(kN2) + leases(kN3) == 100; }));
  EXPECT_EQ(leases(kN2), 50U);

  cluster_.core->transactions = 0;
  cluster_.kill(cluster_.node(2));
  ASSERT_TRUE(until([&] { return leases(kN1) + leases(kN3) == 101; }));
  EXPECT_LT(cluster_.core->transactions, 30U) << "50 take-overs at one instant";
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
