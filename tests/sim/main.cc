// The simulator by hand and in CI: ./dev test sim -- --scenario=NAME --seed=N --histories=N. Ends with one line,
// "N passed, N failed", counted in histories.
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>

#include "tests/sim/history.h"

namespace outlast::sim {
namespace {

struct Arguments {
  std::string scenario{"all"}, planted;
  std::uint64_t seed{1}, histories{0};
  double seconds{0};
  bool trace{false}, hash{false}, stop{false};
};

double seconds_since(std::chrono::steady_clock::time_point began) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

int run(const Arguments& arguments) {
  Planted planted;
  if (!arguments.planted.empty()) {
    const PlantedBug* bug = find_planted(arguments.planted);
    if (bug == nullptr) {
      std::fprintf(stderr, "there is no planted bug \"%s\"; known:\n", arguments.planted.c_str());
      for (const PlantedBug& known : planted_bugs())
        std::fprintf(stderr, "  %-28s %s\n", std::string(known.name).c_str(), std::string(known.what).c_str());
      return 2;
    }
    bug->plant(planted);
  }
  std::vector<const Scenario*> chosen;
  for (const Scenario& scenario : scenarios())
    if (arguments.scenario == "all" || arguments.scenario == scenario.name) chosen.push_back(&scenario);
  if (chosen.empty()) {
    std::fprintf(stderr, "there is no scenario \"%s\"; known:\n", arguments.scenario.c_str());
    for (const Scenario& known : scenarios())
      std::fprintf(stderr, "  %-12s %s\n", std::string(known.name).c_str(), std::string(known.help).c_str());
    return 2;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const auto began = std::chrono::steady_clock::now();
  std::unordered_set<std::uint64_t> states;
  std::uint64_t passed = 0, failed = 0, done = 0, unknown = 0, refused = 0, events = 0, undecided = 0, stuck = 0,
                resolved = 0;
  double slowest = 0;
  std::printf("seed %llu\n", static_cast<unsigned long long>(arguments.seed));
  for (std::uint64_t i = 0;; ++i) {
    if (arguments.histories > 0 ? i >= arguments.histories : seconds_since(began) >= arguments.seconds) break;
    const Scenario* scenario = chosen[i % chosen.size()];
    const std::uint64_t seed = arguments.seed + i / chosen.size();
    const HistoryOutcome outcome = run_history({seed, scenario, planted, arguments.trace, &states});
    done += outcome.done;
    unknown += outcome.unknown;
    resolved += outcome.resolved;
    refused += outcome.failed;
    events += outcome.events;
    undecided += outcome.undecided;
    stuck += outcome.stuck;
    slowest = std::max(slowest, outcome.recovered_ms);
    if (arguments.hash)
      std::printf("%s %llu: %016llx\n", std::string(scenario->name).c_str(), static_cast<unsigned long long>(seed),
                  static_cast<unsigned long long>(outcome.hash));
    if (outcome.violation.empty()) {
      ++passed;
      continue;
    }
    ++failed;
    std::printf("FAILED: %s\n  replay: ./dev test sim -- --scenario=%s --seed=%llu --histories=1%s --trace\n",
                outcome.violation.c_str(), std::string(scenario->name).c_str(), static_cast<unsigned long long>(seed),
                arguments.planted.empty() ? "" : (" --planted=" + arguments.planted).c_str());
    std::fflush(stdout);
    if (arguments.stop || !arguments.planted.empty()) break;  // found
  }
  const double took = seconds_since(began);
  std::printf(
      "%llu histories in %.1f s (%.1f/s), %llu events, %zu distinct states; operations: %llu done (%llu told "
      "by RESOLVE), %llu unknown, %llu failed; slowest recovery %.0f ms; %llu objects undecided; "
      "%llu histories stuck because all of S was lost\n",
      static_cast<unsigned long long>(passed + failed), took, static_cast<double>(passed + failed) / took,
      static_cast<unsigned long long>(events), states.size(), static_cast<unsigned long long>(done),
      static_cast<unsigned long long>(resolved), static_cast<unsigned long long>(unknown),
      static_cast<unsigned long long>(refused), slowest, static_cast<unsigned long long>(undecided),
      static_cast<unsigned long long>(stuck));
  std::printf("%llu passed, %llu failed\n", static_cast<unsigned long long>(passed),
              static_cast<unsigned long long>(failed));
  return failed == 0 && passed > 0 ? 0 : 1;
}

}  // namespace
}  // namespace outlast::sim

int main(int argc, char** argv) {
  outlast::sim::Arguments arguments;
  CLI::App app("Simulates clusters of Outlast with everything that can fail");
  app.add_option("--scenario", arguments.scenario, "one scenario, or all");
  app.add_option("--seed", arguments.seed, "of the first history; the next ones count up");
  app.add_option("--histories", arguments.histories, "how many; 0: as many as --seconds allows");
  app.add_option("--seconds", arguments.seconds, "how long");
  app.add_option("--planted", arguments.planted, "plant a bug, and stop when it is found");
  app.add_flag("--trace", arguments.trace, "print every message and event");
  app.add_flag("--stop", arguments.stop, "stop at the first history that fails");
  app.add_flag("--hash", arguments.hash, "print the hash of each history");
  CLI11_PARSE(app, argc, argv);
  if (arguments.histories == 0 && arguments.seconds == 0) arguments.histories = 1;
  spdlog::set_level(arguments.trace ? spdlog::level::debug : spdlog::level::off);
  return outlast::sim::run(arguments);
}
