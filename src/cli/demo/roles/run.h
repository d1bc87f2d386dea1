#pragma once
#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "cli/demo/demo.h"
#include "cli/demo/report.h"
#include "cli/demo/roles/report.h"
#include "cli/interrupt.h"
#include "cli/local_cluster.h"
#include "cli/scoreboard.h"
#include "cli/workload.h"

namespace outlast::cli {

inline constexpr int kRolesNodes = 6;

/// The scenario roles: two frontends, three backends and a compute node, each of which leaves by `outlast stop -g` and
/// returns while queries of every length, labelled loads and background work run. Step by step, as Demo.
/// Thread-safety: none, it lives on the main thread.
class RolesDemo {
 public:
  RolesDemo(const DemoOptions& options, const InterruptScope& interrupt, const std::string& dir,
            const std::string& meta);

  Result<void> start();
  Result<void> load();
  void prove();
  const DemoReport& report() const { return report_; }
  void print_logs() const;

 private:
  using Steady = std::chrono::steady_clock;
  Duration elapsed() const { return Steady::now() - load_began_; }
  bool is_frontend(int node) const { return roles_[static_cast<std::size_t>(node)] == NodeRole::kFrontend; }
  /// Of the frontends, which are the first nodes: place i is node i.
  std::vector<std::string> urls(const std::string& database) const;
  std::vector<std::string> http_addresses() const;

  Result<void> start_nodes();
  Result<void> prepare(PgConnection& sql);
  Result<void> fill();
  Result<std::uint64_t> calibrate(PgConnection& sql, QueryKind kind);
  Result<void> wait_replicated(Duration timeout);
  WorkloadPlan short_plan() const;
  void add_query_client(QueryClass type, std::uint64_t effort, Duration limit);
  void begin_load();
  Result<void> run_until_over(const LoadRecord& record);
  bool goes_on() const;
  void let_queries();
  void look_at_health();
  void end_load();
  void show(const LoadRecord& record);
  // What the exits need (run_ports.cc).
  RolesExits::Ports ports();
  bool prepared(const ExitTurn& next) const;
  Result<void> stop(const ExitTurn& turn);
  std::string stop_log(int node) const;
  std::optional<NodeShown> shown(const ExitTurn& turn);
  PgReply ask_other(int node, const std::string& sql);
  std::optional<int> leader();
  bool unhealthy(int node) const;
  bool healed();
  void take_receipt(ExitTurn& turn) const;
  // Afterwards (run_proof.cc).
  void take_numbers(const LoadRecord& record);
  void take_silence(const LatencyTimeline& timeline);
  void complain(const Error& error) { report_.complaints.push_back(error.message); }
  Result<void> read_back();
  Result<void> read_labels();
  void take_tasks();
  Result<std::uint64_t> count_waiting_loads() const;
  std::optional<double> leader_left() const;

  const DemoOptions& options_;
  const InterruptScope& interrupt_;
  const std::string dir_;
  const RolesPlan times_;
  const std::vector<NodeRole> roles_;
  LocalCluster cluster_;
  RolesExits exits_;
  QueryRecord queries_;
  std::vector<std::uint64_t> efforts_;  ///< Of a second of each QueryKind.
  LoadRuns loads_;
  ExpiryRun expiry_;
  std::vector<NodeId> ids_;               ///< By node.
  std::map<int, PgConnection> watchers_;  ///< By frontend: those that look at nodes.
  std::optional<int> leader_;
  std::uint64_t leader_changes_{0};
  std::int64_t run_{0};
  std::vector<ClientJournal> journals_;
  DemoReport report_;
  Scoreboard board_;
  std::string last_event_;
  Steady::time_point load_began_{}, looked_{};
  std::chrono::system_clock::time_point load_began_at_{};
  bool healed_{true};
  std::array<std::atomic<bool>, kRolesNodes> in_service_{};  ///< Of the frontends: /api/health answers 200.
  Steady::time_point looked_at_health_{};
  std::atomic<bool> stopping_{false}, abandoned_{false};
  std::vector<std::jthread> threads_;
};

}  // namespace outlast::cli
