// Random histories of writes in doubt: I8 of protocol A12 in a simulated cluster with crashes, cut links, false fences,
// transfers and lost answers. OUTLAST_SEED=n replays one history, OUTLAST_HISTORIES=n runs more.
#include <gtest/gtest.h>

#include <cstdlib>

#include "replication/testing/planted.h"
#include "replication/testing/sim_requests.h"

namespace outlast::replication::testing {
namespace {
using namespace std::chrono_literals;

constexpr RangeId kRange{1};

std::uint64_t number_from(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

void grow(SimCluster& cluster) {
  SimNode* where = nullptr;
  const auto config = cluster.record(kRange);
  if (!cluster.leader(kRange, &where) || !config || config->insync.size() + config->learners.size() >= 3) return;
  for (auto& node : cluster.nodes())
    if (node->up() && config->find(node->id) == nullptr)
      return where->replicas->place({placement::Step::Kind::kAddReplica, kRange, node->id, 3}, [](Result<void>) {});
}

void trouble(SimCluster& cluster) {
  auto& random = cluster.random;
  const auto any = [&]() -> SimNode& { return *cluster.nodes()[random.below(cluster.nodes().size())]; };
  SimNode &a = any(), &b = any();
  SimNode* where = nullptr;
  switch (random.below(8)) {
    case 0:
      return cluster.kill(a);
    case 1:  // the leaseholder, with its answers
      if (cluster.leader(kRange, &where)) cluster.kill(*where);
      return;
    case 2:
      if (random.below(5) == 0)
        for (auto& node : cluster.nodes()) cluster.kill(*node);
      return;
    case 3:
      if (a.id != b.id) cluster.cut(a.id, b.id);
      return;
    case 4:
      if (a.id != b.id) cluster.heal(a.id, b.id);
      return;
    case 5:  // fenced though it lives
      if (a.up() && random.below(2) == 0) cluster.fence_after(a.id, a.incarnation, 1ms);
      return;
    default:
      if (cluster.leader(kRange, &where)) where->replicas->transfer(kRange, b.id, [](Result<void>) {});
  }
}

/// Heals everything, then waits until every question was answered or given up.
void settle(SimCluster& cluster, SimRequests& requests) {
  for (auto& a : cluster.nodes()) {
    *a->weather = {};
    for (auto& b : cluster.nodes())
      if (a->id < b->id) cluster.heal(a->id, b->id);
  }
  for (int i = 0; i < 4000 && cluster.violation.empty(); ++i) {
    if (i % 40 == 0)
      for (auto& node : cluster.nodes()) cluster.start(*node);
    cluster.step(5ms);
    if (i > 800 && requests.settled()) return;  // what was sent late has arrived by then
  }
}

/// Some histories keep ids for a moment only, some have hardly any memory: forgetting must be noticed.
void adjust(std::uint64_t seed, Parameters& parameters) {
  if (seed % 3 == 1) parameters.resolve_window = 150ms;
  if (seed % 3 == 2) parameters.resolve_bytes = 2000;
}

std::string run_history(std::uint64_t seed, PlantedBugs bugs, SimRequests::Counts* counts = nullptr) {
  SimCluster cluster(seed, 3 + static_cast<int>(seed % 2), bugs, [seed](Parameters& p) { adjust(seed, p); });
  const auto requests = std::make_shared<SimRequests>(cluster, kRange);
  cluster.step(20ms);
  cluster.create_range(kRange, NodeId(1));
  const std::uint64_t calm = 20 + cluster.random.below(150);
  for (int i = 0; i < 1000 && cluster.violation.empty(); ++i) {
    cluster.step(std::chrono::microseconds(500 + cluster.random.below(4000)));
    if (cluster.random.below(3) != 0) requests->send();
    if (i % 20 == 0) grow(cluster);
    if (i > 60 && cluster.random.below(calm) == 0) trouble(cluster);
    for (auto& node : cluster.nodes())
      if (!node->up() && cluster.random.below(60) == 0) cluster.start(*node);
  }
  if (cluster.violation.empty()) settle(cluster, *requests);
  if (counts != nullptr) {
    const SimRequests::Counts& c = requests->counts;
    for (auto field : {&SimRequests::Counts::sent, &SimRequests::Counts::acked, &SimRequests::Counts::in_doubt,
                       &SimRequests::Counts::applied, &SimRequests::Counts::not_applied, &SimRequests::Counts::expired,
                       &SimRequests::Counts::unanswered})
      counts->*field += c.*field;
  }
  return !cluster.violation.empty() ? cluster.violation : requests->check();
}

TEST(RequestHistories, TellTheTruthAboutEveryWriteInDoubt) {
  const bool one = std::getenv("OUTLAST_SEED") != nullptr;
  const std::uint64_t first = number_from("OUTLAST_SEED", 1);
  const std::uint64_t count = one ? 1 : number_from("OUTLAST_HISTORIES", 45);
  SimRequests::Counts counts;
  for (std::uint64_t seed = first; seed < first + count; ++seed)
    ASSERT_EQ(run_history(seed, {}, &counts), "")
        << "replay: OUTLAST_SEED=" << seed << " replication_test --gtest_filter='RequestHistories.*'";
  for (const auto& [name, value] :
       {std::pair("sent", counts.sent), std::pair("acked", counts.acked), std::pair("in_doubt", counts.in_doubt),
        std::pair("applied", counts.applied), std::pair("not_applied", counts.not_applied),
        std::pair("expired", counts.expired), std::pair("unanswered", counts.unanswered)})
    RecordProperty(name, std::to_string(value));
  if (one) return;
  EXPECT_GT(counts.applied, count) << "the histories did too little";
  EXPECT_GT(counts.not_applied, count);
  EXPECT_LT(counts.unanswered, counts.in_doubt / 20) << "a healed cluster answers";
}

class PlantedRequestBug : public ::testing::TestWithParam<Planted> {};

TEST_P(PlantedRequestBug, IsFound) {
  expect_found(GetParam(), 1000, [](std::uint64_t seed, PlantedBugs bugs) { return run_history(seed, bugs); });
}

INSTANTIATE_TEST_SUITE_P(Replication, PlantedRequestBug,
                         ::testing::Values(Planted{"RequestNotPoisoned", &PlantedBugs::request_not_poisoned},
                                           Planted{"CutRequestKept", &PlantedBugs::cut_request_kept},
                                           Planted{"ForgottenIsAbsent", &PlantedBugs::forgotten_is_absent}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace outlast::replication::testing
