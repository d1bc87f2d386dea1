#pragma once
#include <boost/json/object.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/demo/decommission_report.h"
#include "cli/demo/roles/report.h"
#include "cli/demo/rolling_report.h"
#include "cli/record_report.h"
#include "cli/workload_check.h"
#include "proto/peer.pb.h"

namespace outlast::cli {

/// Something that the demo did to the cluster.
struct DemoEvent {
  double at_seconds{0};                       ///< Since the load began.
  std::string kind;                           ///< "kill_worker", "kill_node", "drain", "restart", "stop" or "exit".
  int node{0};                                ///< Counted from 1.
  std::optional<double> ready_after_seconds;  ///< Until the node said ready again; empty: it did not.
};

/// Replicas of all ranges, compared at one LSN each.
struct ReplicaComparison {
  std::uint64_t ranges{0}, replicas{0};
  std::uint64_t different{0};     ///< Ranges whose replicas differ at the same LSN.
  std::uint64_t not_compared{0};  ///< Ranges that did not come to rest at one LSN, or did not answer.
  std::vector<std::string> details;
};

/// One run of the demo, with one meaning for every scenario. What was not measured is empty, and fails the run.
struct DemoReport {
  std::string scenario;
  std::uint64_t seed{0};
  int nodes{0};
  std::optional<int> readers;      ///< When not all serve clients: those that the data is read back through.
  std::optional<int> nodes_after;  ///< When some left or joined: those that the data is read back through.
  double seconds{0};
  std::vector<DemoEvent> events;
  int restarts{0};
  bool finished{false};  ///< The load ran for its whole duration.
  StatementCounts statements;
  ConnectionCounts connections;
  std::vector<std::string> complaints;
  double p50_ms{0}, p99_ms{0}, max_ms{0}, max_pause_ms{0};
  std::optional<double> p99_ratio;  ///< During the events / the rest: 2 s around each kill; each drain's own time.
  std::optional<double> p99_ratio_with_restart;       ///< Drain: the same until each node was wholly back.
  std::vector<proto::DrainStatus> receipts;           ///< One for each drain, in order.
  std::vector<boost::json::object> restart_receipts;  ///< One for each restart that is over, in order, with its node.
  std::optional<RecordsReport> records;               ///< Restart, ingest: through all restarts.
  std::optional<RecordsReport> after_kill;            ///< Ingest: of senders that began behind the restarts.
  std::vector<RollingTurn> rounds;                    ///< Of rolling-restart.
  std::optional<DecommissionReport> decommission;     ///< Of that scenario.
  std::optional<RolesReport> roles;                   ///< Of that scenario.
  std::size_t receipts_wanted{0};                     ///< Of either kind.
  std::vector<CheckResult> read_back;                 ///< One for each node.
  std::optional<ReplicaComparison> replicas;
  std::optional<std::uint64_t> under_replicated_after;
};

/// What the clients of a load of statements saw.
void take_load_numbers(const LoadRecord& record, DemoReport& report);
/// Every reason why this run did not pass, in words; empty = it passed. Pure.
std::vector<std::string> failures(const DemoReport& report);
/// The report as JSON text, `pass` and `failures` included.
std::string to_json(const DemoReport& report);
/// For a person, a dozen lines.
std::string summary(const DemoReport& report);

}  // namespace outlast::cli
