// The simulator tested: it replays exactly, and it finds what is planted.
#include <gtest/gtest.h>

#include <cstdio>

#include "tests/sim/history.h"

namespace outlast::sim {
namespace {

TEST(Simulator, ReplaysASeedExactly) {
  for (const char* name : {"mixed", "crash", "meta", "membership"}) {
    const HistoryOptions options{.seed = 11, .scenario = find_scenario(name)};
    const HistoryOutcome first = run_history(options), second = run_history(options);
    EXPECT_EQ(first.hash, second.hash) << name;
    EXPECT_EQ(first.events, second.events) << name;
    EXPECT_GT(first.done, 50U) << name << ": the clients did too little";
  }
}

TEST(Simulator, AnotherSeedIsAnotherHistory) {
  const Scenario* scenario = find_scenario("steady");
  EXPECT_NE(run_history({.seed = 1, .scenario = scenario}).hash, run_history({.seed = 2, .scenario = scenario}).hash);
}

/// Histories that stayed stuck: S = {a leaseholder that took over after a crash, a damaged member}, and a learner that
/// needs a snapshot of the one to take the other's place (A4.7).
TEST(Simulator, ALearnerReplacesADamagedMemberBeforeTheRangeServes) {
  for (const std::uint64_t seed : {78U, 107U}) {
    const HistoryOutcome outcome = run_history({.seed = seed, .scenario = find_scenario("disk")});
    EXPECT_EQ(outcome.violation, "") << "seed " << seed;
    EXPECT_EQ(outcome.stuck, 0U) << "seed " << seed;
  }
}

class Planting : public testing::TestWithParam<PlantedBug> {};

/// Histories of the bug's scenario until one fails; that seed must pass without the bug.
TEST_P(Planting, IsFound) {
  const PlantedBug& bug = GetParam();
  HistoryOptions options{.seed = bug.first_seed, .scenario = find_scenario(bug.scenario)};
  bug.plant(options.planted);
  for (int n = 1; n <= bug.histories_max; ++n, ++options.seed) {
    const HistoryOutcome outcome = run_history(options);
    if (outcome.violation.empty()) continue;
    RecordProperty("seed", std::to_string(options.seed));
    RecordProperty("histories", std::to_string(n));
    RecordProperty("violation", outcome.violation);
    std::printf("%-28s found in %s, seed %llu, after %d histories: %s\n", std::string(bug.name).c_str(),
                std::string(bug.scenario).c_str(), static_cast<unsigned long long>(options.seed), n,
                outcome.violation.c_str());
    EXPECT_EQ(run_history({.seed = options.seed, .scenario = options.scenario}).violation, "")
        << "seed " << options.seed << " fails without the planted bug as well";
    return;
  }
  FAIL() << "not found within " << bug.histories_max << " histories of " << bug.scenario << " from seed "
         << bug.first_seed;
}

INSTANTIATE_TEST_SUITE_P(Simulator, Planting, testing::ValuesIn(planted_bugs()), [](const auto& info) {
  std::string name(info.param.name);
  for (char& c : name)
    if (c == '-') c = '_';
  return name;
});

}  // namespace
}  // namespace outlast::sim
