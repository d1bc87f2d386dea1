#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <string>

#include "compute/served_channel.h"
#include "executor/executor.h"
#include "lifecycle/ledger.h"
#include "meta/office.h"
#include "proto/peer.pb.h"
#include "replication/replicas.h"
#include "server/cluster_state.h"
#include "server/drainer.h"
#include "server/exit_notice.h"
#include "server/metadata_heard.h"
#include "server/node_ingest.h"
#include "sql/sql_server.h"

namespace outlast::server {

/// The drain of this node: what the Drainer's counts and orders mean for sessions, leases, other gateways' work, the
/// office and the metadata (protocol A7).
/// Thread-safety: on the loop, where callbacks run. Lifetime: what Parts refers to
/// outlives it.
class NodeDrain {
 public:
  struct Parts {
    Loop& loop;
    meta::Store& meta;
    ClusterState& state;
    meta::Office& office;
    replication::Replicas& replicas;
    executor::Executor& executor;
    compute::ServedChannels& served;
    sql::SqlServer& sql;
    liveness::Peer self;
    placement::Roles roles;
    std::function<NodeIngest*()> ingest;  ///< Null: there is none.
    std::string store;                    ///< Directory: the last receipt is kept there.
    std::atomic<bool>& unready;           ///< Set while the readiness probe is to fail.
    std::function<void()> end_process;
    std::function<void(const std::string&)> say;  ///< What the process manager may show.
    std::function<void(bool leaving)> set_phase;  ///< As ExitNotice::Ports, both.
    std::function<void(Callback<NodeId>)> ask_leader;
  };
  /// How the process is to end.
  struct Stop {
    Duration grace{0};              ///< Until it is killed; 0 = nobody said.
    lifecycle::ExitPlan exit;       ///< None: the full drain.
    std::optional<Duration> limit;  ///< Of a frontend's exit, instead of the setting.
  };
  explicit NodeDrain(Parts parts);
  ~NodeDrain();

  /// One call of the Admin service or of POST /api/drain; answers with the status after it.
  void handle(const proto::DrainRequest& request, Callback<proto::DrainStatus> done);
  /// The drain that ends with the process, whatever else was asked for: `done` runs when it may end. Asked for again it
  /// is added to.
  void drain_for_stop(const Stop& how, Task done);
  /// The frontend's graceful exit of a process that goes on with its other roles. kInvalidState: see DrainMachine.
  Result<void> leave_frontend(std::optional<Duration> limit);
  /// The leaving of a handover (protocol A8): `done` runs when no session and nothing that another node could take is
  /// left. Takes the place of an operator's drain, which the new worker has to carry on: to_carry_on().
  void hand_over(Task done);
  std::optional<proto::HandoverDrain> to_carry_on() const;
  void carry_on(const proto::HandoverDrain& drain);
  /// What a drain waits for may be there: it looks now.
  void nudge() { drainer_.nudge(); }
  /// Takes hand_over() back; an operator's drain goes on.
  void stay();
  bool draining() const { return operators_.has_value() || (drainer_.draining() && !drainer_.handing_over()); }
  /// The node leaves the cluster for good.
  bool leaving() const { return drainer_.request().leave; }
  std::uint64_t leases_moved() const { return leases_moved_; }
  proto::DrainStatus status() const;
  /// Says at once when the settings do not fit into what a stop is given.
  void check_grace(Duration grace) const;

 private:
  struct Leases {
    std::uint64_t held{0}, unmovable{0}, insync{0};
    std::vector<RangeId> stuck, pinned;  ///< Unmovable leases; in-sync replicas that must stay.
  };
  Drainer::Ports ports();
  lifecycle::DrainSettings settings() const;
  lifecycle::DrainLoad load() const;
  Leases leases() const;
  bool stays(NodeId node) const;
  bool could_lead(NodeId node) const;
  bool alone() const;
  bool others_stand() const;
  Result<void> rehearse(Duration time, const std::string& by);
  void end_rehearsal();
  void begin_receipt();
  void carry_out(const lifecycle::DrainOrders& orders);
  void carry_out_sessions(const lifecycle::DrainOrders& orders);
  void refuse(const lifecycle::DrainOrders& orders);
  void resign();
  void carry_out_ingest(const lifecycle::DrainOrders& orders);
  Result<void> drain(const proto::DrainRequest& request);
  Result<void> undrain(const proto::DrainRequest& request);
  NodeIngest::Load ingest_load() const;
  void say_progress();
  void shed_leases(bool keep_busy);
  void give_up_what_nobody_can_take();
  void moved(const Result<replication::LeaseTransferProgress>& progress);
  void record(const DrainWish& wish, const std::string& by, Callback<void> done);
  void report(const std::string& event, const DrainView& view) const;
  void keep_receipt(const DrainView& view);
  void on_range(const meta::RangeMirror::Change& change);
  static Duration expected(const lifecycle::DrainLoad& load);
  std::vector<std::string> warnings(const DrainView& view) const;
  proto::DrainStatus describe(const DrainView& view) const;
  void describe_blocking(const DrainView& view, proto::DrainStatus& out) const;
  proto::DrainStatus plan() const;

  const Parts parts_;
  bool stopping_{false}, gave_up_{false};
  struct Asked {
    lifecycle::DrainRequest request;
    std::string by;
  };
  std::optional<Asked> operators_;  ///< Their drain, during a handover.
  std::shared_ptr<replication::LeaseMover> mover_;
  std::uint64_t rounds_{0}, ended_rounds_{0};
  Instant said_at_{};
  Instant resign_again_{};
  bool left_office_{false};  ///< It was ours when this drain began: somebody else has to take it.
  Instant mover_rest_{};     ///< After a round that left some behind.
  bool keeps_{false};        ///< The round left some out on purpose.
  std::map<RangeId, replication::LeaseNotMoved> not_moved_;
  std::map<NodeId, std::uint64_t> moved_to_;
  std::uint64_t leases_moved_{0}, moves_failed_{0};
  Instant began_at_{};
  std::optional<Instant> leases_left_at_;  ///< The last lease that could move had left.
  std::optional<Instant> inputs_closed_at_, buffers_flushed_at_;
  Loop::TimerId rehearsal_end_{0};
  lifecycle::Ledger ledger_before_;
  std::uint64_t shed_before_{0}, cut_before_{0};
  std::optional<Instant> foreign_before_;  ///< Other gateways' work that began earlier is ended.
  std::string last_receipt_;               ///< JSON; empty: this store never saw a drain's end.
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  ExitNotice notice_;
  MetadataHeard metadata_;
  Drainer drainer_;
};

}  // namespace outlast::server
