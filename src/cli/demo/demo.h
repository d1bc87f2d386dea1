#pragma once
#include <string>

#include "cli/command.h"

namespace outlast::cli {

struct DemoOptions {
  std::int64_t nodes{0}, clients{8}, databases{0},
      seed{0};  ///< 0 nodes: by the scenario; 0 databases: two for each node. Seed 0: chosen, printed.
  Duration duration{std::chrono::seconds(20)};
  Duration crash_every{std::chrono::seconds(6)};
  std::int64_t rounds{3};    ///< Of drains, each node once a round.
  std::int64_t rate{1500};   ///< Records a second, of all senders together: restart, ingest.
  Bytes bulk{512ULL << 20};  ///< Data that is to be moved, beside the load's: decommission.
  std::string scenario{"steady"};
  std::string meta{"embedded"};  ///< Or "etcd": three processes of it.
  std::string report;            ///< File for the JSON report; empty = none.
  bool keep{false};              ///< Keep the folder with stores and logs.
};

/// Starts a cluster of real processes on this machine, puts load on it, hurts it if asked to, and proves from the data
/// what it kept. Returns an ExitCode: kDone only when the report passes. Ends everything that it started.
int run_demo(const DemoOptions& options);

}  // namespace outlast::cli
