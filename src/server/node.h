#pragma once
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "compute/engine.h"
#include "executor/executor.h"
#include "gateway/cluster_impl.h"
#include "http/server.h"
#include "meta/housekeeping.h"
#include "meta/life_locks.h"
#include "meta/store_health.h"
#include "replication/replicas.h"
#include "rpc/client.h"
#include "rpc/remote_channel.h"
#include "rpc/server.h"
#include "server/asio_loop.h"
#include "server/cluster_state.h"
#include "server/handover_in.h"
#include "server/handover_out.h"
#include "server/http_api.h"
#include "server/io_threads.h"
#include "server/join.h"
#include "server/loads/load_keeper.h"
#include "server/metrics.h"
#include "server/node_drain.h"
#include "server/node_ingest.h"
#include "server/node_rolling.h"
#include "server/node_status_writer.h"
#include "server/node_tasks.h"
#include "server/options.h"
#include "server/partition_keeper.h"
#include "server/range_admin.h"
#include "server/restart_api.h"
#include "server/restarts.h"
#include "server/supervisor_link.h"
#include "sql/sql_server.h"
#include "storage/log_writer.h"
#include "storage/replica_store.h"
#include "tasks/placer.h"

namespace outlast::server {

/// One worker process: all rooms of a node put together. Start-up order (protocol A2, A8): store lock, metadata,
/// identity and incarnation (told to the supervisor), the node-to-node listener, the first liveness record, replicas,
/// gateway, SQL. A standby worker does all that needs no store first, serves clients through others, and goes on when
/// the worker before it has released the store (node_handover.cc). Thread-safety: run() on the main thread.
class Node {
 public:
  explicit Node(WorkerOptions options);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  /// Serves until the supervisor, an admin call or a fence ends it. Returns the exit code for the supervisor.
  int run();

 private:
  /// What the main thread is woken for.
  enum class Ending : std::uint8_t {
    kNone,
    kStop,
    kStoreFailed,
    kFenced,
    kCannotTake,  ///< Standby: said why.
    kHandedOver,  ///< Another worker owns the node, the receipt is written.
  };
  enum class Step : std::uint8_t {
    kNone,
    kOwn,      ///< Standby: the store is free.
    kRelease,  ///< Handover: the store has to be closed.
    kRetire,   ///< The node is decommissioned.
  };
  Result<void> start();
  Result<void> start_standby();
  Result<void> own_node();
  Result<void> check_replicas_fit_roles() const;
  Result<void> take_store();
  Result<void> open_store_and_meta();
  void start_http();
  Result<void> start_rpc();
  Result<void> start_liveness(meta::Phase phase);
  Result<void> start_replicas();
  void start_gateway();
  Result<void> open_ingest();
  Result<void> announce();
  void start_placement();
  void start_tasks();
  void start_drain();
  void start_rolling();
  void drain(proto::DrainRequest request, Callback<proto::DrainStatus> done);
  void restart(const proto::RestartRequest& request, Callback<proto::RestartReply> done);
  proto::StatementsReply statements() const;
  std::uint64_t running_queries() const;
  void add_metrics();
  gateway::ClusterPorts cluster_ports();
  gateway::PartitionPorts partition_ports();
  PartitionKeeper::Ports partition_keeper_ports();
  void discard(const meta::PartitionedRecord& record, Callback<void> done);
  void start_partition_keeper();
  void add_loads();
  void start_load_keeper();
  void nodes_and_work(Callback<proto::NodeStatusReply> done);
  void list_tasks(Callback<proto::TasksReply> done);
  void list(gateway::Listing what, Callback<std::vector<gateway::ListingRow>> done);
  /// A channel to each node that does nothing but compute, beginning with another one each time.
  std::vector<std::unique_ptr<executor::Channel>> compute_places();
  rpc::Services services();
  tasks::Placer::Ports placer_ports();
  /// Runs `work` on the loop once the node serves ranges.
  template <class Reply>
  void with_admin(Callback<Reply> done, std::move_only_function<void(RangeAdmin&, Callback<Reply>)> work);
  void add_range_services(rpc::Services& services);
  void add_task_services(rpc::Services& services);
  void add_rolling_services(rpc::Services& services);
  void add_range_ports(HttpPorts& ports);
  void note_regression(RangeId range, const Error& why);
  void transfer_leases(std::optional<NodeId> to, std::size_t at_once,
                       Callback<replication::LeaseTransferProgress> done);
  void report_damage(RangeId range, const Error& why);
  void refresh_peers();
  // Membership (node_membership.cc).
  void watch_memberships();
  void cut_off(NodeId gone);
  void retire();
  std::string retired_sentence() const;
  void report_status();
  void maintenance(const proto::MaintenanceRequest& request, Callback<proto::MaintenanceReply> done);
  void housekeeping();
  void look_at_disk();
  Result<void> open_replica_store();
  void ensure_default_database();
  void sweep_forever();
  void watch_supervisor();
  void on_supervisor(handover::ControlMessage message);
  void tell_supervisor(handover::ControlMessage::Kind kind, std::string text = {});
  void reload(const std::string& text);
  void end_source_only();
  void tell_state(handover::HandoverState state);
  void supervisor_lost();
  void restart_ended(const std::string& receipt);
  Ending wait_for_end(Duration at_most);
  void end(Ending how);
  void ask_for(Step step);
  Step next_step();
  // A handover (node_handover.cc).
  HandoverOut::Ports handover_out_ports();
  HandoverIn::Ports handover_in_ports();
  void accept_clients(bool accept);
  void allow_adoption();
  int serve();
  void release_node();
  bool hold_kept_leases(Instant until);
  void close_store();
  std::string handover_plan() const;
  void drain_to_stop();
  // How it ends (node_exit.cc).
  bool another(bool placement::Roles::* role) const;
  std::string last_of(const placement::Roles& leaving) const;
  Result<proto::StopReply> stop_as_asked(const proto::StopRequest& request);
  void exit_with(NodeDrain::Stop how);
  void leave_frontend();
  void ask_leader(Callback<NodeId> done);
  bool knows_of_exit(liveness::Peer peer) const;
  void add_exit_services(rpc::Services& services);
  Result<meta::Creator> creator() const;
  void stop_gracefully();
  void say(const std::string& what);
  std::string not_ready() const;
  liveness::Peer self() const { return {member_.node, member_.incarnation}; }

  const WorkerOptions options_;
  const placement::Roles roles_;
  SystemClock clock_;
  AsioLoop loop_;
  IoThreads io_{2};
  IoThreads bulk_io_{1};  ///< For snapshots between nodes.
  Restarts restarts_;
  std::unique_ptr<SupervisorLink> link_;

  std::unique_ptr<storage::Disk> disk_;
  std::unique_ptr<storage::StoreDir> store_;
  std::unique_ptr<meta::Store> meta_;
  Membership member_;
  std::string rpc_addr_, sql_addr_, http_addr_;

  ThreadWorkers workers_{3};
  ThreadWorkers copiers_{4};  ///< Read and write the bytes of snapshots.
  executor::SqlPool sql_pool_{8};
  std::unique_ptr<storage::ReplicaStore> replica_store_;
  std::unique_ptr<storage::LogWriter> log_writer_;
  std::unique_ptr<replication::Transport> transport_;
  std::unique_ptr<ClusterState> state_;
  std::unique_ptr<meta::LifeLocks> life_locks_;
  std::unique_ptr<meta::LivenessDriver> liveness_;
  std::unique_ptr<meta::Office> office_;
  std::unique_ptr<rpc::PeerLinks> links_;
  std::unique_ptr<rpc::RemoteChannels> remote_;
  std::unique_ptr<rpc::Client> rpc_client_;
  std::unique_ptr<meta::StoreHealth> store_health_;
  std::unique_ptr<replication::Replicas> replicas_;
  std::unique_ptr<RangeAdmin> range_admin_;
  int regressions_{0};  ///< Told as events so far; on the loop.
  std::unique_ptr<executor::Executor> executor_;
  std::unique_ptr<gateway::ChannelFactory> channels_;
  std::unique_ptr<gateway::ClusterImpl> cluster_;
  compute::ServedChannels served_;
  std::shared_ptr<compute::Engine> engine_;
  std::atomic<std::size_t> next_compute_{0};
  std::unique_ptr<sql::SqlServer> sql_;
  std::unique_ptr<rpc::Server> rpc_server_;
  std::unique_ptr<http::Server> http_;
  std::unique_ptr<NodeTasks> tasks_;
  std::unique_ptr<tasks::Placer> placer_;
  std::unique_ptr<PartitionKeeper> partition_keeper_;
  std::unique_ptr<LoadKeeper> load_keeper_;
  std::unique_ptr<NodeRolling> rolling_;
  std::unique_ptr<NodeDrain> drain_;
  std::unique_ptr<NodeIngest> ingest_;  ///< Null: the configuration names no inputs.
  std::unique_ptr<HandoverOut> handover_out_;
  std::unique_ptr<HandoverIn> handover_in_;
  Callback<proto::HandoverReleased> released_;  ///< Waits for the main thread.
  std::unique_ptr<meta::Housekeeping> housekeeping_;
  std::unique_ptr<NodeStatusWriter> status_writer_;
  Metrics metrics_;

  std::mutex mutex_;
  std::condition_variable ended_;
  Ending ending_{Ending::kNone};  // under mutex_
  Step step_{Step::kNone};        // under mutex_
  NodeDrain::Stop stop_;          // under mutex_; of Ending::kStop
  std::atomic<bool> serving_{false}, ending_soon_{false}, stopping_{false}, left_{false};
  std::atomic<bool> retired_{false};  ///< The node is decommissioned.
  std::atomic<Duration> grace_;       ///< Of options_, or as it was read again.
  std::atomic<std::int64_t> max_connections_;
  std::atomic<bool> source_only_;               ///< Sinks wait for the supervisor's word.
  std::atomic<bool> owning_{false};             ///< The store is ours and ranges are served.
  std::atomic<bool> confirm_all_reads_{false};  ///< sql.reads is "confirmed".
  std::atomic<bool> draining_now_{false};       ///< The readiness probe fails because of a drain.
  std::atomic<std::uint32_t> log_format_{1};    ///< Of what this node writes: see ClusterState::log_format.
  bool distrust_store_{false};                  ///< An earlier process could not mark what its disk had failed.
  bool disk_low_{false};                        // loop
  std::optional<storage::Space> disk_space_;    // loop
  std::set<NodeId> cut_off_;                    ///< Decommissioned; on the loop.
};

}  // namespace outlast::server
