// What a range does whose commits cannot become durable: protocol A5.4 and the rows of A4's table that speak of it.
#include "replication/testing/fixture.h"

namespace outlast::replication::testing {
namespace {

class StallTest : public ReplicasTest {
 protected:
  /// Node 1 leads, S = {1, 2}, and node 2 is stopped, not dead: nothing can be removed.
  void lose_the_others() {
    grow();
    ASSERT_TRUE(write());
    cluster_.kill(cluster_.node(3));
    ASSERT_TRUE(until([&] { return record().insync.size() == 2; }));
    cluster_.step(100ms);  // what is durable has been told
    cluster_.freeze(cluster_.node(2));
  }
  /// A commit whose writer waits; `out` when it was told.
  Lsn commit(const LeasedRangePtr& lease, std::optional<Result<void>>& out) {
    const auto lsn = database(lease).write("w");
    EXPECT_TRUE(lsn.ok());
    lease->wait_durable(*lsn, Waits::kWrite, [&out](Result<void> r) { out = std::move(r); });
    return *lsn;
  }
  LeasedRangePtr lease() { return cluster_.leader(kRange); }
  bool in_sync(NodeId node) { return record().find_insync(node) != nullptr; }
};

TEST_F(StallTest, AtMinInsyncItRefusesWritesServesTheDurablePrefixAndGoesOn) {
  ASSERT_NO_FATAL_FAILURE(lose_the_others());
  const auto full = lease();
  const Lsn before = full->durable();
  std::optional<Result<void>> writer;
  const Lsn lsn = commit(full, writer);
  std::optional<Result<void>> reader;
  full->wait_durable(full->assigned(), Waits::kRead, [&](Result<void> r) { reader = std::move(r); });
  const Duration began = now();
  ASSERT_TRUE(until([&] { return reader.has_value(); }));
  EXPECT_LT(now() - began, 1500ms);
  EXPECT_EQ(reader->error().code, Errc::kMoving) << "the waiting reader is sent to the durable prefix";
  const auto prefix = lease();
  ASSERT_TRUE(prefix);
  EXPECT_NE(prefix, full);
  EXPECT_TRUE(prefix->admit().ok());
  EXPECT_EQ(prefix->assigned(), before) << "reads depend on nothing that is not durable";
  EXPECT_EQ(prefix->admit_write().error().code, Errc::kRangeUnavailable);
  EXPECT_EQ(full->admit_write().error().code, Errc::kRangeUnavailable);
  EXPECT_EQ(database(full).write("late").error().code, Errc::kRangeUnavailable);
  cluster_.step(10s);
  EXPECT_FALSE(writer.has_value()) << "a writer waits until its deadline";
  EXPECT_EQ(leader(), kN1) << "with nobody else alive the lease stays";
  EXPECT_EQ(record().insync.size(), 2u);

  cluster_.thaw(cluster_.node(2));
  ASSERT_TRUE(until([&] { return writer.has_value(); }));
  EXPECT_TRUE(writer->ok());
  EXPECT_FALSE(prefix->admit().ok()) << "who reads from now on must see it";
  EXPECT_EQ(lease(), full);
  EXPECT_TRUE(full->admit_write().ok());
  EXPECT_GE(full->durable(), lsn);
  EXPECT_TRUE(write());
}

TEST_F(StallTest, AMemberThatMayBeRemovedCausesNoStall) {
  grow();
  ASSERT_TRUE(write());
  cluster_.freeze(cluster_.node(3));
  const auto full = lease();
  std::optional<Result<void>> writer;
  commit(full, writer);
  for (int i = 0; i < 3000 && !writer; ++i) {
    cluster_.step(1ms);
    ASSERT_TRUE(full->admit_write().ok());
  }
  ASSERT_TRUE(writer && writer->ok());
}

TEST_F(StallTest, CutFromItsBackupsItLetsThemLead) {
  grow();
  ASSERT_TRUE(write());
  cluster_.cut(kN1, kN2);
  cluster_.cut(kN1, kN3);
  std::optional<Result<void>> writer;
  const auto old = lease();
  const Lsn lost = commit(old, writer);
  const Duration began = now();
  ASSERT_TRUE(until([&] { return leader() && *leader() != kN1; }, 10s));
  EXPECT_LT(now() - began, 6s);
  EXPECT_FALSE(old->admit().ok());
  ASSERT_TRUE(writer.has_value());
  EXPECT_EQ(writer->error().code, Errc::kRangeUnavailable) << "its fate is unknown: the others may have had it";
  EXPECT_TRUE(write(*leader()));
  EXPECT_FALSE(in_sync(kN1));
  cluster_.heal(kN1, kN2);
  cluster_.heal(kN1, kN3);
  ASSERT_TRUE(until([&] { return in_sync(kN1); }, 10s));
  EXPECT_GT(cluster_.node(1).disk->ranges.at(kRange).at(lost)->epoch, old->epoch()) << "its tail was cut";
}

TEST_F(StallTest, CutFromOneBackupWhileTheOtherIsDeadItKeepsTheLease) {
  grow();
  ASSERT_TRUE(write());
  cluster_.kill(cluster_.node(3));
  ASSERT_TRUE(until([&] { return !in_sync(kN3); }));
  cluster_.cut(kN1, kN2);
  std::optional<Result<void>> writer;
  const auto full = lease();
  commit(full, writer);
  cluster_.step(8s);
  EXPECT_EQ(leader(), kN1) << "node 2 alone could not serve either";
  EXPECT_TRUE(lease()->admit().ok());
  cluster_.heal(kN1, kN2);
  ASSERT_TRUE(until([&] { return writer.has_value(); }));
  EXPECT_TRUE(writer->ok());
}

TEST_F(StallTest, AFullDiskOfALeaseholderMakesItFallBackAndMovesTheLease) {
  grow();
  ASSERT_TRUE(write());
  const Epoch before = lease()->epoch();
  cluster_.node(1).disk->full = true;
  cluster_.node(1).disk->room = 1;  // the first goes in
  std::optional<Result<void>> fits, does_not;
  const Lsn kept = commit(lease(), fits);
  const Lsn cut = commit(lease(), does_not);
  ASSERT_TRUE(until([&] { return fits && does_not; }));
  EXPECT_TRUE(fits->ok());
  EXPECT_EQ(does_not->error().code, Errc::kTransactionLost) << "certainly not applied: " << does_not->error().message;
  EXPECT_GT(record().epoch, before);
  ASSERT_TRUE(until([&] { return leader() && *leader() != kN1; }));
  EXPECT_TRUE(write(*leader()));
  EXPECT_FALSE(cluster_.node(1).disk->ranges.empty());
  EXPECT_EQ(cluster_.node_of(*leader()).disk->ranges.at(kRange).at(kept)->epoch, before);
  EXPECT_GT(cluster_.node_of(*leader()).disk->ranges.at(kRange).at(cut)->epoch, before);
  cluster_.node(1).disk->full = false;
  EXPECT_TRUE(until([&] { return record().insync.size() == 3; })) << "nothing was damaged";
}

TEST_F(StallTest, ADroppedCommitMakesTheRangeFallBackAndKeepsWhatTheLogHolds) {
  grow();
  ASSERT_TRUE(write());
  auto full = lease();
  const Epoch old = full->epoch();
  std::optional<Result<void>> earlier;
  const auto first = database(full).write("first");
  full->wait_durable(*first, Waits::kWrite, [&](Result<void> r) { earlier = std::move(r); });
  const auto lost = database(full).write("dropped");
  ASSERT_TRUE(lost.ok());
  database(full).drop(*lost);
  EXPECT_EQ(full->admit().error().code, Errc::kMoving) << "what is read here from now on would lack the commit";
  EXPECT_EQ(full->admit_write().error().code, Errc::kMoving);
  EXPECT_EQ(database(full).write("late").error().code, Errc::kMoving);
  full.reset();  // the statement ends, and with it the old database
  ASSERT_TRUE(until([&] { return leader() && cluster_.leader(kRange)->epoch() > old; }));
  EXPECT_EQ(leader(), kN1);
  EXPECT_EQ(record().epoch, old.next());
  ASSERT_TRUE(earlier.has_value());
  EXPECT_TRUE(earlier->ok());
  for (const NodeId node : {kN1, kN2, kN3})
    EXPECT_EQ(cluster_.node_of(node).disk->ranges.at(kRange).at(*lost)->epoch, old);
  EXPECT_TRUE(write());
}

TEST_F(StallTest, AFullBackupLeavesSAndComesBackWithRoom) {
  grow();
  cluster_.node(3).disk->full = true;
  EXPECT_TRUE(write(kN1, 500ms));
  EXPECT_TRUE(until([&] { return !in_sync(kN3); }));
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(write());
  EXPECT_FALSE(in_sync(kN3));
  cluster_.node(3).disk->full = false;
  EXPECT_TRUE(until([&] { return in_sync(kN3); }));
  EXPECT_TRUE(write());
}

TEST_F(StallTest, AFullBackupThatIsNeededMakesWritesFailBeforeTheyBegin) {
  grow();
  cluster_.kill(cluster_.node(3));
  ASSERT_TRUE(until([&] { return !in_sync(kN3); }));
  cluster_.node(2).disk->full = true;
  cluster_.node(2).disk->room = 100;
  const auto full = lease();
  ASSERT_TRUE(until([&] { return !full->admit_write().ok(); }));
  EXPECT_EQ(full->admit_write().error().code, Errc::kDiskFull);
  EXPECT_NE(full->admit_write().error().message.find("node 2"), std::string::npos);
  EXPECT_TRUE(full->admit().ok()) << "reads go on";
  cluster_.node(2).disk->full = false;
  ASSERT_TRUE(until([&] { return full->admit_write().ok(); }));
  EXPECT_TRUE(write());
}

TEST_F(StallTest, AnEntryThatAFullBackupRefusedIsStoredWhenThereIsRoom) {
  grow();
  cluster_.kill(cluster_.node(3));
  ASSERT_TRUE(until([&] { return !in_sync(kN3); }));
  cluster_.node(2).disk->full = true;
  std::optional<Result<void>> writer;
  commit(lease(), writer);
  cluster_.step(6s);
  EXPECT_FALSE(writer.has_value());
  EXPECT_EQ(leader(), kN1);
  EXPECT_TRUE(lease()->admit().ok());
  cluster_.node(2).disk->full = false;
  ASSERT_TRUE(until([&] { return writer.has_value(); }));
  EXPECT_TRUE(writer->ok());
  EXPECT_TRUE(until([&] { return lease()->admit_write().ok(); }));
}

TEST_F(StallTest, WithAllDisksFullEverythingWaitsAndGoesOnWithRoom) {
  grow();
  ASSERT_TRUE(write());
  for (auto& node : cluster_.nodes()) node->disk->full = true;
  std::optional<Result<void>> writer;
  commit(lease(), writer);
  cluster_.step(10s);
  for (auto& node : cluster_.nodes()) node->disk->full = false;
  ASSERT_TRUE(until([&] { return leader() && lease()->admit_write().ok(); }, 10s));
  EXPECT_TRUE(write(*leader()));
  EXPECT_TRUE(until([&] { return record().insync.size() == 3; }, 10s));
}

TEST_F(StallTest, ALeaseholderWithADamagedDiskStandsDown) {
  grow();
  ASSERT_TRUE(write());
  cluster_.node(1).disk->sync_fails = true;
  std::optional<Result<void>> writer;
  commit(lease(), writer);
  ASSERT_TRUE(until([&] { return leader() && *leader() != kN1; }, 10s));
  EXPECT_TRUE(write(*leader()));
  EXPECT_FALSE(in_sync(kN1));
}

}  // namespace
}  // namespace outlast::replication::testing
