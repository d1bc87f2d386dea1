#pragma once
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cli/demo/bulk.h"
#include "cli/demo/chaos.h"
#include "cli/demo/decommission.h"
#include "cli/demo/demo.h"
#include "cli/demo/drain.h"
#include "cli/demo/records.h"
#include "cli/demo/report.h"
#include "cli/demo/restart.h"
#include "cli/haproxy_process.h"
#include "cli/interrupt.h"
#include "cli/local_cluster.h"
#include "cli/scoreboard.h"
#include "rpc/client.h"

namespace outlast::cli {

/// How much of a run of the scenario ingest is kept for a kill -9: before, while and after a worker is missing. Pure.
Duration time_of_kill(Duration run);

/// One run, step by step; every step may be interrupted. Thread-safety: none, it lives on the main thread.
class Demo {
 public:
  /// `meta`: value of --meta; empty = an embedded store below `dir`.
  Demo(const DemoOptions& options, const InterruptScope& interrupt, const std::string& dir, const std::string& meta);

  Result<void> start();
  Result<void> load();
  void prove();
  const DemoReport& report() const { return report_; }
  void print_logs() const;

 private:
  using Steady = std::chrono::steady_clock;
  struct NodeState {
    /// kMaintained: away on purpose, and tended by the rounds of drains. kGone: decommissioned.
    enum class Phase : std::uint8_t { kReady, kDown, kStarting, kMaintained, kGone } phase{Phase::kReady};
    Steady::time_point since{};  ///< Of the kill.
    pid_t killed_worker{0};
    std::size_t event{0};  ///< Index in report_.events.
    int leases{-1};
  };
  int nodes() const { return static_cast<int>(states_.size()); }  ///< Those that left included.
  int wanted_rf() const { return std::min(3, nodes()); }
  bool drains() const { return options_.scenario == "drain"; }
  bool restarts() const { return options_.scenario == "restart"; }
  bool ingests() const { return options_.scenario == "ingest"; }
  bool decommissions() const { return options_.scenario == "decommission"; }
  bool has_sql_load() const { return !ingests(); }
  bool rolls() const { return options_.scenario == "rolling-restart"; }
  bool is_balanced() const { return drains() || decommissions() || rolls(); }
  bool replaces_workers() const { return restarts() || ingests(); }
  bool in_rounds() const { return replaces_workers() || is_balanced(); }
  bool rounds_finished() const;
  NodeState& state(int node) { return states_[static_cast<std::size_t>(node)]; }
  bool is(int node, NodeState::Phase phase) const { return states_[static_cast<std::size_t>(node)].phase == phase; }
  int ready_node() const;  ///< The first one; 0 when there is none.
  Duration restarts_end() const {
    return options_.duration - (ingests() ? time_of_kill(options_.duration) : Duration(0));
  }
  Duration elapsed() const { return Steady::now() - load_began_; }

  Result<void> start_nodes();
  Result<void> wait_replicated(Duration timeout);
  void print_urls() const;
  // The scenario drain (run_drain.cc).
  Result<void> start_balancer();
  Result<rpc::AdminClient*> admin(int node);
  Result<proto::DrainReply> ask_drain(int node, const proto::DrainRequest& request);
  DrainRounds::Ports drain_ports();
  WorkloadPlan load_plan() const;
  WorkloadPlan naive_plan() const;
  bool leases_level() const;
  // The scenario decommission (run_decommission.cc).
  Result<void> prepare_decommission();
  DecommissionAct::Ports decommission_ports();
  Result<void> step_decommission();
  Result<proto::DecommissionReply> ask_decommission(const proto::DecommissionRequest& request);
  Result<proto::TaskStatus> task_status(std::uint64_t task);
  Result<void> limit_copies(std::uint64_t bytes_a_second);
  Result<void> kill_one_that_stays();
  int index_of(NodeId node) const;
  WorkloadPlan stubborn_plan() const;
  DoorCheck look_at_doors(int node);
  void look_at_membership(DoorCheck& door);
  void start_again(DoorCheck& door);
  Result<void> move_quietly();
  Result<void> replace_quietly();
  Result<TaskStory> follow_quietly(const proto::DecommissionRequest& request);
  void read_through_those_that_stayed();
  void take_decommission(const LatencyTimeline& timeline);
  // The scenario rolling-restart (run_rolling.cc).
  Result<void> start_rolling(RollingKind kind);
  Result<proto::TaskStatus> newest_rolling();
  std::vector<NodeProcesses> processes() const;
  void start_stopped_nodes();
  RollingRounds::Ports rolling_ports();
  void take_rolling(const LatencyTimeline& timeline);
  // The scenario restart (run_restart.cc).
  Result<std::uint64_t> ask_restart(int node, RestartTrigger trigger);
  RestartRounds::Ports restart_ports();
  void note_gap(const boost::json::object& receipt);
  WorkloadPlan patient_plan() const;
  // The scenario ingest, and the records of the scenario restart (run_ingest.cc).
  std::unique_ptr<DemoRecords> make_records();
  void end_records(Duration since);
  Result<void> kill_under_records(const LoadRecord& record);
  void take_records();
  // While the load runs.
  Result<void> run_until_over(const LoadRecord& record);
  Result<void> step(const LoadRecord& record);
  Result<void> keep_going();
  bool goes_on() const;
  void look();
  void strike(const ChaosStep& step);
  void tend(int node);
  Duration down_for() const;
  void show(const LoadRecord& record);
  // Afterwards (run_proof.cc).
  void take_numbers(const LoadRecord& record);
  void take_ratio(const LatencyTimeline& timeline);
  void take_drains(const LatencyTimeline& timeline);
  void take_restarts();

  const DemoOptions& options_;
  const InterruptScope& interrupt_;
  const std::string dir_;
  LocalCluster cluster_;
  std::unique_ptr<DemoRecords> records_;  ///< Null: this scenario has none.
  HaproxyProcess haproxy_;
  ChaosPlan chaos_;
  DrainRounds rounds_;
  RestartRounds restarts_;
  RollingRounds rolling_;
  std::optional<DecommissionAct> decommission_;  ///< Once the nodes have their ids.
  BulkPlan bulk_;
  std::vector<NodeState> states_;
  std::map<std::string, std::unique_ptr<rpc::AdminClient>> admins_;  ///< By address.
  std::vector<GatewayKill> kills_;  ///< By index of the node, which is that of its url; 0 behind the balancer.
  WorkloadPlan plan_;
  std::vector<ClientJournal> journals_;
  DemoReport report_;
  Scoreboard board_;
  std::string last_event_;
  Steady::time_point load_began_{}, looked_{}, looked_at_records_{};
  bool healed_{true}, doors_seen_{false};
};

}  // namespace outlast::cli
