// Random histories of a simulated cluster. OUTLAST_SEED=n replays one, OUTLAST_HISTORIES=n runs more.
#include <gtest/gtest.h>

#include <cstdlib>

#include "replication/testing/planted.h"
#include "replication/testing/sim_cluster.h"

namespace outlast::replication::testing {
namespace {
using namespace std::chrono_literals;

constexpr RangeId kRange{1};

std::uint64_t number_from(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

/// Asks a leader for a replica on every node that has none, as placement would.
void grow(SimCluster& cluster) {
  SimNode* where = nullptr;
  const auto config = cluster.record(kRange);
  if (!cluster.leader(kRange, &where) || !config) return;
  if (config->insync.size() + config->learners.size() >= 3) return;
  for (auto& node : cluster.nodes())
    if (node->up() && config->find(node->id) == nullptr)
      return where->replicas->place({placement::Step::Kind::kAddReplica, kRange, node->id, 3}, [](Result<void>) {});
}

bool whole(SimCluster& cluster) {
  const auto config = cluster.record(kRange);
  return cluster.leader(kRange) && config && config->insync.size() >= 3 && config->learners.empty();
}

/// A leaseholder that neither peers nor metadata reach is fenced and does not hear of it.
void isolate(SimCluster& cluster, SimNode& node) {
  if (!node.up()) return;
  node.weather->cut = true;
  for (auto& other : cluster.nodes())
    if (other->id != node.id) cluster.cut(node.id, other->id);
  cluster.fence_after(node.id, node.incarnation, 5ms);
  cluster.world.after(400ms, [&cluster, &node] {
    node.weather->cut = false;
    for (auto& other : cluster.nodes())
      if (other->id != node.id) cluster.heal(node.id, other->id);
  });
}

void trouble(SimCluster& cluster) {
  auto& random = cluster.random;
  const auto any = [&]() -> SimNode& { return *cluster.nodes()[random.below(cluster.nodes().size())]; };
  SimNode &a = any(), &b = any();
  switch (random.below(17)) {
    case 0:
    case 1:
      return cluster.kill(a);
    case 2:
      if (random.below(6) == 0)
        for (auto& node : cluster.nodes()) cluster.kill(*node);
      return;
    case 3:
      if (a.id != b.id) cluster.cut(a.id, b.id);
      return;
    case 4:
    case 5:
      if (a.id != b.id) cluster.heal(a.id, b.id);
      return;
    case 6:
      a.weather->cut = random.below(2) == 0;
      return;
    case 7:
      a.weather->doubt_percent = random.below(2) * 30;
      return;
    case 8:  // silent for too long, though it lives
      if (a.up() && random.below(2) == 0) cluster.fence_after(a.id, a.incarnation, 1ms);
      return;
    case 9: {
      SimNode* where = nullptr;
      if (random.below(2) == 0 && cluster.leader(kRange, &where)) isolate(cluster, *where);
      return;
    }
    case 10:
    case 11: {
      SimNode* where = nullptr;
      if (cluster.leader(kRange, &where)) where->replicas->transfer(kRange, b.id, [](Result<void>) {});
      return;
    }
    case 12:
      a.disk->full = true;
      a.disk->room = random.below(4);
      a.disk->reserve = random.below(2) == 0;
      return;
    case 13:
      a.disk->full = false;
      return;
    case 14:  // a stopped process; beyond its ttl it is fenced
      cluster.freeze(a);
      if (random.below(3) == 0) cluster.fence_after(a.id, a.incarnation, 600ms);
      return;
    case 15:
      return cluster.thaw(a);
    default: {  // placement changes its mind
      SimNode* where = nullptr;
      if (random.below(4) == 0 && cluster.leader(kRange, &where))
        where->replicas->place({placement::Step::Kind::kRemoveReplica, kRange, b.id, 0}, [](Result<void>) {});
    }
  }
}

/// Heals everything and waits until the range is whole again. Empty, or what is still wrong.
std::string settle(SimCluster& cluster) {
  for (auto& a : cluster.nodes()) {
    *a->weather = {};
    a->disk->full = false;
    cluster.thaw(*a);
    cluster.start(*a);
    for (auto& b : cluster.nodes())
      if (a->id < b->id) cluster.heal(a->id, b->id);
  }
  for (int i = 0; i < 6000 && cluster.violation.empty(); ++i) {
    cluster.step(5ms);
    if (i % 40 == 0) {
      for (auto& node : cluster.nodes()) cluster.start(*node);  // fenced ones come back
      grow(cluster);
    }
    if (whole(cluster)) break;
  }
  if (!whole(cluster)) return "not whole after 30 s: " + cluster.core->kvs[meta::keys::range(kRange)].value;
  const std::uint64_t before = cluster.acknowledged;
  for (int i = 0; i < 1000 && cluster.violation.empty(); ++i) {
    SimNode* where = nullptr;
    if (cluster.acknowledged == before && i % 100 == 0 && cluster.leader(kRange, &where)) cluster.write(*where, kRange);
    cluster.step(2ms);
  }
  for (int i = 0; i < 300 && cluster.violation.empty(); ++i) cluster.step(10ms);  // checkpoint, apply
  if (cluster.acknowledged == before) {
    const auto lease = cluster.leader(kRange);
    const auto admitted = lease ? lease->admit() : Result<void>(Error(Errc::kNoLeaseholder, "nobody leads"));
    return "no write is acknowledged after everything was healed: " +
           (admitted.ok()
                ? "admitted, assigned " + lease->assigned().to_string() + ", durable " + lease->durable().to_string() +
                      ", waiters " + std::to_string(lease->writer_lock().waiters())
                : admitted.error().to_string()) +
           ", record " + cluster.core->kvs[meta::keys::range(kRange)].value;
  }
  const auto config = cluster.record(kRange);
  std::optional<LogPosition> end;
  for (const placement::ReplicaRef& ref : config->insync) {
    const auto& files = cluster.node_of(ref.node).disk->ranges.at(kRange);
    if (end && *end != files.end()) return "the logs differ at the end";
    end = files.end();
    if (files.applied != *end) return "node " + ref.node.to_string() + " did not apply everything";
  }
  return "";
}

/// What happened in all histories together: each rule must have been put to work.
struct Seen {
  std::uint64_t acknowledged{0}, refused{0}, undone{0}, reads{0}, stalled_reads{0};
};

std::string run_history(std::uint64_t seed, PlantedBugs bugs, Seen* seen = nullptr) {
  SimCluster cluster(seed, 3 + static_cast<int>(seed % 3), bugs, [](Parameters& parameters) {
    parameters.ack_timeout = 300ms;  // a history lasts three seconds
    parameters.stall = 150ms;
    parameters.stuck = 500ms;
  });
  cluster.fast_reads = seed % 4 == 0;  // else all reads are confirmed
  cluster.step(20ms);
  cluster.create_range(kRange, NodeId(1));
  const std::uint64_t calm = 20 + cluster.random.below(200);
  int quiet = 0;  // steps without work: dead members stay in S for a while
  for (int i = 0; i < 1200 && cluster.violation.empty(); ++i) {
    cluster.step(std::chrono::microseconds(500 + cluster.random.below(4000)));
    if (quiet == 0 && cluster.random.below(400) == 0) quiet = 150;
    quiet = std::max(0, quiet - 1);
    for (auto& node : cluster.nodes()) {
      if (quiet == 0 && cluster.random.below(2) == 0) cluster.write(*node, kRange);
      if (quiet == 0 && cluster.random.below(2) == 0) cluster.read(*node, kRange);
    }
    if (i % 20 == 0) grow(cluster);
    if (i > 60 && cluster.random.below(calm) == 0) trouble(cluster);
    for (auto& node : cluster.nodes())
      if (!node->up() && cluster.random.below(60) == 0) cluster.start(*node);
  }
  std::string wrong = cluster.violation;
  if (wrong.empty()) wrong = settle(cluster);
  if (!cluster.violation.empty()) wrong = cluster.violation;
  if (seen != nullptr) {
    seen->acknowledged += cluster.acknowledged;
    seen->refused += cluster.refused;
    seen->undone += cluster.undone;
    seen->reads += cluster.reads;
    seen->stalled_reads += cluster.stalled_reads;
  }
  return wrong;
}

TEST(ReplicationHistories, LoseNothingAcknowledgedAndAgreeInTheEnd) {
  const bool one = std::getenv("OUTLAST_SEED") != nullptr;
  const std::uint64_t first = number_from("OUTLAST_SEED", 1);
  const std::uint64_t count = one ? 1 : number_from("OUTLAST_HISTORIES", 60);
  Seen seen;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    const std::string wrong = run_history(seed, {}, &seen);
    ASSERT_EQ(wrong, "") << "replay: OUTLAST_SEED=" << seed
                         << " replication_test --gtest_filter='ReplicationHistories.Lose*'";
  }
  EXPECT_GT(seen.acknowledged, count * 50) << "the histories did too little";
  if (!one) {
    EXPECT_GT(seen.reads, count * 50) << "the histories read too little";
    EXPECT_GT(seen.stalled_reads, 0U) << "no range was read while it was stalled";
    EXPECT_GT(seen.refused, 0U) << "no write was refused";
    EXPECT_GT(seen.undone, 0U) << "no fall-back cut a write";
  }
  RecordProperty("acknowledged", std::to_string(seen.acknowledged));
  RecordProperty("reads", std::to_string(seen.reads));
  RecordProperty("stalled_reads", std::to_string(seen.stalled_reads));
  RecordProperty("undone", std::to_string(seen.undone));
}

class PlantedBug : public ::testing::TestWithParam<Planted> {};

TEST_P(PlantedBug, IsFound) {
  expect_found(GetParam(), 400, [](std::uint64_t seed, PlantedBugs bugs) { return run_history(seed, bugs); });
}

INSTANTIATE_TEST_SUITE_P(Replication, PlantedBug,
                         ::testing::Values(Planted{"RemovalBeforeConfirmed", &PlantedBugs::removal_before_confirmed},
                                           Planted{"ApplyWholeLog", &PlantedBugs::apply_whole_log},
                                           Planted{"CutToDurable", &PlantedBugs::cut_to_durable},
                                           Planted{"PromoteWithoutUnion", &PlantedBugs::promote_without_union},
                                           Planted{"AckBeforeSync", &PlantedBugs::ack_before_sync},
                                           Planted{"ServeBeforeAllAnswered", &PlantedBugs::serve_before_all_answered},
                                           Planted{"FallBackInTheSameEpoch", &PlantedBugs::fall_back_same_epoch},
                                           Planted{"CutOwnTail", &PlantedBugs::cut_own_tail},
                                           Planted{"ShrinkToOne", &PlantedBugs::shrink_to_one},
                                           Planted{"ViewAfterProgress", &PlantedBugs::view_after_progress},
                                           Planted{"ReadUnconfirmed", &PlantedBugs::read_unconfirmed},
                                           Planted{"ConfirmOnce", &PlantedBugs::confirm_once}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace outlast::replication::testing
