#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/loop.h"

namespace outlast::cli {

struct ChaosStep {
  bool whole_node{false};  ///< Else the worker alone.
  int node{0};             ///< From 0.
};

/// Decides what the crash scenario kills and when: every `interval` a random worker, and in turn a whole node; it waits
/// for the cluster to heal from the last one, though never longer than another two intervals. Pure: time is passed in.
class ChaosPlan {
 public:
  ChaosPlan(std::uint64_t seed, int nodes, Duration interval, Duration end);
  /// What to do now, at `now` since the load began; `healed`: every node ready and every range fully replicated.
  /// Nothing is begun in the last interval, so that the run shows its recovery.
  std::optional<ChaosStep> next(Duration now, bool healed);

 private:
  SeededRandom random_;
  int nodes_;
  Duration interval_, end_, due_;
  bool whole_node_{false};
};

}  // namespace outlast::cli
