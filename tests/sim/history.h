#pragma once
#include <cstdint>
#include <string>
#include <unordered_set>

#include "tests/sim/planted.h"
#include "tests/sim/scenario.h"

namespace outlast::sim {

struct HistoryOptions {
  std::uint64_t seed{1};
  const Scenario* scenario{nullptr};
  Planted planted;
  bool trace{false};
  std::unordered_set<std::uint64_t>* states{nullptr};  ///< Takes in the abstract states that were seen.
};

struct HistoryOutcome {
  std::string violation;  ///< Empty: everything held.
  std::uint64_t hash{0};  ///< Of everything that happened.
  std::uint64_t events{0}, messages{0}, entries{0};
  std::uint64_t done{0}, unknown{0}, failed{0}, resolved{0};
  std::uint64_t undecided{0};  ///< Objects whose history was too hard for the checker.
  std::uint64_t stuck{0};      ///< A range did not come back in time, and the protocol does not promise that it does.
  double recovered_ms{0};      ///< From the end of all faults to the first acknowledged write.
};

/// One history: a cluster comes up, clients work, the scenario strikes, everything is healed; then the cluster must
/// serve again in time (I9), become whole, hold equal replicas, and have answered its clients linearizably.
HistoryOutcome run_history(const HistoryOptions& options);

}  // namespace outlast::sim
