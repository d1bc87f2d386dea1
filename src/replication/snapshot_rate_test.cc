// How fast a learner is filled (kv.snapshot_rebalance.max_rate), and what a leaseholder does that cannot fill it.
#include "replication/testing/fixture.h"
#include "tests/support/sim_loop.h"

namespace outlast::replication::testing {
namespace {

bool until(SimCluster& cluster, Duration limit, const std::function<bool()>& done, Duration step = 1ms) {
  for (Duration passed{}; passed < limit && !done(); passed += step) cluster.step(step);
  return done();
}
/// A range that node 1 leads.
void begin(SimCluster& cluster, Duration limit, Duration step = 1ms) {
  cluster.create_range(kRange, kN1);
  ASSERT_TRUE(until(cluster, limit, [&] { return cluster.leader(kRange) != nullptr; }, step));
}
/// Commits, each acknowledged before the next.
void write(SimCluster& cluster, int commits, Duration limit, Duration step = 1ms) {
  for (int i = 0; i < commits; ++i) {
    const auto before = cluster.acknowledged;
    cluster.write(cluster.node(1), kRange);
    ASSERT_TRUE(until(cluster, limit, [&] { return cluster.acknowledged > before; }, step));
  }
}
void add(SimCluster& cluster, NodeId id, int rf = 3) {
  cluster.node(1).replicas->place({placement::Step::Kind::kAddReplica, kRange, id, rf}, [](Result<void>) {});
}
bool log_was_freed(SimCluster& cluster) {
  return cluster.node(1).disk->ranges.at(kRange).start.lsn.value > 0;
}

TEST(SnapshotRate, PacesASnapshotAndCanBeRaisedWhileTheNodeRuns) {
  SimCluster cluster(13, 3);
  cluster.parameters.batch_bytes = 500;  // the simulated file has 3,000 bytes
  cluster.parameters.snapshot_rate = 1'000;
  for (auto& node : cluster.nodes()) cluster.kill(*node);
  cluster.step(200ms);
  for (auto& node : cluster.nodes()) cluster.start(*node);
  cluster.step(20ms);
  ASSERT_NO_FATAL_FAILURE(begin(cluster, 5s));
  ASSERT_NO_FATAL_FAILURE(write(cluster, 100, 5s));
  ASSERT_TRUE(until(cluster, 5s, [&] { return log_was_freed(cluster); }));
  const auto fill = [&](std::uint32_t id) {
    const Instant began = cluster.world.now();
    add(cluster, NodeId(id));
    EXPECT_TRUE(until(cluster, 20s, [&] { return cluster.record(kRange)->find_insync(NodeId(id)) != nullptr; }));
    return cluster.world.now() - began;
  };
  EXPECT_GE(fill(2), 2500ms);  // the first piece at once, five more of half a second each
  cluster.node(1).replicas->set_snapshot_rate(0);
  EXPECT_LT(fill(3), 1s);
  EXPECT_EQ(cluster.violation, "");
}

/// A learner is filled in pieces of 500 bytes; the most that were ever sent and not answered.
std::uint64_t pieces_ahead(std::size_t window_bytes) {
  SimCluster cluster(13, 2, {}, [&](Parameters& parameters) {
    parameters.batch_bytes = 500;
    parameters.window_bytes = window_bytes;
  });
  begin(cluster, 5s, 10us);
  write(cluster, 100, 5s, 10us);
  EXPECT_TRUE(until(cluster, 5s, [&] { return log_was_freed(cluster); }, 10us));
  add(cluster, kN2, 2);
  std::uint64_t most = 0;
  EXPECT_TRUE(until(
      cluster, 5s,
      [&] {
        using Body = proto::RangeMessage;
        most = std::max<std::uint64_t>(most, cluster.sent[Body::kSnapshotChunk] - cluster.sent[Body::kSnapshotAck]);
        return cluster.record(kRange)->find_insync(kN2) != nullptr;
      },
      10us));
  EXPECT_EQ(cluster.violation, "");
  return most;
}

TEST(SnapshotRate, PiecesGoAsFarAheadAsTheReceiverTakesThem) {
  EXPECT_EQ(pieces_ahead(0), 1U) << "a program that knows nothing of this gets one after another";
  EXPECT_EQ(pieces_ahead(1'000), 2U);
  EXPECT_GE(pieces_ahead(8 << 20), 4U);
}

TEST(SnapshotRate, ALongLogIsNoSubstituteForAShortFile) {
  for (const std::size_t shipped : {std::size_t{100}, std::size_t{4} << 20}) {
    SimCluster cluster(13, 2, {}, [&](Parameters& parameters) { parameters.log_bytes_shipped = shipped; });
    cluster.node(1).disk->log_keep = 1'000'000;
    ASSERT_NO_FATAL_FAILURE(begin(cluster, 5s));
    ASSERT_NO_FATAL_FAILURE(write(cluster, 600, 5s));
    ASSERT_TRUE(until(cluster, 5s, [&] { return cluster.node(1).disk->ranges.at(kRange).applied.lsn.value > 0; }));
    add(cluster, kN2, 2);
    ASSERT_TRUE(until(cluster, 5s, [&] { return cluster.record(kRange)->find_insync(kN2) != nullptr; }));
    EXPECT_EQ(cluster.node(1).disk->snapshots, shipped == 100 ? 1 : 0);
  }
}

TEST(SnapshotRate, WhoTakesOverSendsItsFileAtTheRateToo) {
  SimCluster cluster(13, 3, {}, [](Parameters& parameters) {
    parameters.batch_bytes = 500;
    parameters.snapshot_rate = 1'000;
    parameters.log_bytes_shipped = 100;
  });
  for (const std::uint32_t id : {1U, 2U}) cluster.node(id).disk->log_keep = 1'000'000;
  ASSERT_NO_FATAL_FAILURE(begin(cluster, 20s));
  add(cluster, kN2);
  ASSERT_TRUE(until(cluster, 20s, [&] { return cluster.record(kRange)->find_insync(kN2) != nullptr; }));
  ASSERT_NO_FATAL_FAILURE(write(cluster, 600, 20s));
  for (const std::uint32_t id : {1U, 2U})
    ASSERT_TRUE(until(cluster, 20s, [&] { return cluster.node(id).disk->ranges.at(kRange).applied.lsn.value > 0; }));
  add(cluster, kN3);
  ASSERT_TRUE(until(cluster, 20s, [&] { return cluster.record(kRange)->find_learner(kN3) != nullptr; }));
  cluster.step(500ms);
  cluster.kill(cluster.node(1));
  const int before = cluster.node(2).disk->snapshots;
  ASSERT_TRUE(until(cluster, 20s, [&] { return cluster.record(kRange)->find_insync(kN3) != nullptr; }));
  EXPECT_EQ(cluster.node(2).disk->snapshots, before + 1) << "and not the log, as fast as it goes";
  EXPECT_EQ(cluster.violation, "");
}

TEST(SnapshotRate, ALeaseholderSaysWhoseCopyWaitsAndThatLearnerThatItHasNothing) {
  SimCluster cluster(13, 3, {}, [](Parameters& parameters) {
    parameters.batch_bytes = 500;
    parameters.snapshot_rate = 1'000;
    parameters.snapshots_at_once = 1;
  });
  ASSERT_NO_FATAL_FAILURE(begin(cluster, 20s));
  ASSERT_NO_FATAL_FAILURE(write(cluster, 100, 20s));
  ASSERT_TRUE(until(cluster, 20s, [&] { return log_was_freed(cluster); }));
  for (const NodeId id : {kN2, kN3}) {
    add(cluster, id);
    ASSERT_TRUE(until(cluster, 20s, [&] { return cluster.record(kRange)->find_learner(id) != nullptr; }));
  }
  const auto state = [&](std::uint32_t id) { return cluster.node(id).replicas->states({kRange}).at(0); };
  cluster.step(1s);
  EXPECT_EQ(state(1).copies_in_line, std::vector<NodeId>{kN3});
  EXPECT_EQ(state(3).role, ReplicaState::Role::kLearner);
  EXPECT_EQ(state(3).file_bytes, 0U) << "the empty database that it was made with is nothing";
  EXPECT_GT(state(2).file_bytes, 0U);
  EXPECT_TRUE(until(cluster, 20s, [&] { return cluster.record(kRange)->find_insync(kN3) != nullptr; }));
  EXPECT_TRUE(state(1).copies_in_line.empty());
  EXPECT_EQ(cluster.violation, "");
}

TEST(SnapshotLine, TheTargetThatReceivesTheFewestIsNext) {
  testing_support::SimLoop loop;
  const auto line = std::make_shared<SnapshotLine>(loop, 2);
  std::string begun;
  std::map<char, SnapshotLine::Ticket> tickets;
  const auto join = [&](char name, std::uint32_t to) {
    tickets[name] = line->join(NodeId(to), 1, [&begun, name] { begun += name; });
  };
  join('a', 1), join('b', 1), join('c', 1), join('d', 2), join('e', 1);
  loop.run_ready();
  EXPECT_EQ(begun, "ad");
  EXPECT_TRUE(line->waits(tickets['b']));
  line->leave(tickets['b']);
  line->leave(tickets['d']);
  loop.run_ready();
  EXPECT_EQ(begun, "adc") << "first come, first served, where the targets are alike";
  line->leave(tickets['a']), line->leave(tickets['c']);
  loop.run_ready();
  EXPECT_EQ(begun, "adce");
}

TEST(SnapshotLine, AllSnapshotsOfANodeShareItsRate) {
  testing_support::SimLoop loop;
  const auto line = std::make_shared<SnapshotLine>(loop, 2, 1000);
  const Instant now = loop.now();
  EXPECT_EQ(line->due(1000), now);
  EXPECT_EQ(line->due(500), now + 1s);
  EXPECT_EQ(line->due(1), now + 1500ms);
  line->set_rate(0);
  EXPECT_EQ(line->due(1), now);
}

TEST(SnapshotLine, FewerGoAtOnceWhereTheRateIsLow) {
  testing_support::SimLoop loop;
  const auto line = std::make_shared<SnapshotLine>(loop, 8, 1 << 20);
  int begun = 0;
  for (std::uint32_t i = 0; i < 20; ++i) line->join(NodeId(1 + i % 3), 1, [&begun] { ++begun; });
  const auto at = [&](std::uint64_t rate) {
    line->set_rate(rate);
    loop.run_ready();
    return begun;
  };
  loop.run_ready();
  EXPECT_EQ(begun, 2);
  EXPECT_EQ(at(3 * SnapshotLine::kRateOfOne), 3);
  EXPECT_EQ(at(32 << 20), 4);
  EXPECT_EQ(at(std::uint64_t{1} << 40), 8);
  EXPECT_EQ(at(1), 8) << "what has begun goes on";
}

TEST(SnapshotLine, LargeOnesGoTwoAtATimeUntilTheyAreSent) {
  testing_support::SimLoop loop;
  const auto line = std::make_shared<SnapshotLine>(loop, 3);
  std::vector<SnapshotLine::Ticket> tickets;
  int begun = 0;
  const auto join = [&](std::uint64_t bytes) { tickets.push_back(line->join(NodeId(1), bytes, [&] { ++begun; })); };
  for (int i = 0; i < 5; ++i) join(SnapshotLine::kBytesAtOnce);
  loop.run_ready();
  EXPECT_EQ(begun, 2);
  line->all_sent(tickets[0]);
  loop.run_ready();
  EXPECT_EQ(begun, 3) << "while the first is installed";
  line->all_sent(tickets[1]);
  loop.run_ready();
  EXPECT_EQ(begun, 3) << "no more than three, whatever they do";
  line->leave(tickets[0]);
  loop.run_ready();
  EXPECT_EQ(begun, 4);
}

TEST(SnapshotLine, SmallOnesGoTogether) {
  testing_support::SimLoop loop;
  const auto line = std::make_shared<SnapshotLine>(loop, 8);
  int begun = 0;
  for (int i = 0; i < 20; ++i) line->join(NodeId(1), SnapshotLine::kBytesAtOnce / 4, [&] { ++begun; });
  loop.run_ready();
  EXPECT_EQ(begun, 4);
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

TEST_F(ReplicasTest, ALearnerNeverSaysThatItHasLessThanBefore) {
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(write());
  ASSERT_TRUE(until([&] { return cluster_.node(1).disk->ranges.at(kRange).start.lsn.value > 0; }));  // log was freed
  ASSERT_TRUE(place(placement::Step::Kind::kAddReplica, kN2).ok());
  std::uint64_t most = 0;
  for (int i = 0; i < 100'000 && record().find_insync(kN2) == nullptr; ++i) {
    const auto states = cluster_.node(2).replicas->states({kRange});
    if (!states.empty()) {
      EXPECT_GE(states[0].file_bytes, most) << i;
      most = std::max(most, states[0].file_bytes);
    }
    cluster_.step(10us);
  }
  EXPECT_NE(record().find_insync(kN2), nullptr);
  EXPECT_GT(most, 0U);
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
