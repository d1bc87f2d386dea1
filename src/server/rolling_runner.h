#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "base/loop.h"
#include "lifecycle/rolling.h"
#include "liveness/params.h"
#include "meta/tasks.h"
#include "placement/view.h"
#include "proto/peer.pb.h"
#include "server/restart_status.h"

namespace outlast::server {

/// The leader frontend's duty of a rolling restart: brings what its machine looks at, carries its orders out and stores
/// its record. It keeps no truth: a new holder of the office goes on from the stored task.
/// Thread-safety: loop only. Lifetime: what the ports use outlives it.
class RollingRunner {
 public:
  struct Ports {
    std::function<bool()> in_office;
    std::function<bool()> metadata;  ///< The metadata store answers.
    std::function<std::vector<meta::TaskMirror::EntryPtr>()> tasks;
    std::function<placement::ClusterView()> view;
    std::function<std::optional<Incarnation>(NodeId)> live;  ///< The process of a node that is live.
    NodeId self;
    // Of this very process of a node, and no other one; callbacks come on the loop.
    std::function<void(liveness::Peer, const proto::DrainRequest&, Callback<proto::DrainStatus>)> drain;
    std::function<void(liveness::Peer, const proto::RestartRequest&, Callback<RestartStatus>)> restart;
    std::function<void(liveness::Peer, Callback<proto::StatementsReply>)> statements;
    std::function<std::int64_t(NodeId)> maintenance_until;  ///< Wall clock, microseconds; 0: it is in none.
    std::function<void(NodeId, std::int64_t until_micros, std::string by, Callback<void>)> begin_maintenance;
    /// Stores the task if it is still what was read and the office is still held.
    std::function<void(const meta::TaskMirror::EntryPtr&, meta::TaskRecord next, Callback<void>)> store;
  };
  RollingRunner(Loop& loop, Ports ports);
  ~RollingRunner();
  RollingRunner(const RollingRunner&) = delete;
  RollingRunner& operator=(const RollingRunner&) = delete;

  void start();
  /// Something changed: look soon instead of at the next tick.
  void nudge();
  /// How far a task is; false when it does not run here.
  bool describe(std::uint64_t task, proto::TaskStatus& out) const;

 private:
  /// What only a node's own process can tell.
  struct Asked {
    Incarnation incarnation;
    bool draining{false}, drained{false};
    std::string blocker;
    lifecycle::RollingNode::Receipt receipt;
    bool pending{false};
  };
  struct Running {
    meta::TaskMirror::EntryPtr stored;
    lifecycle::RollingMachine machine;
    std::map<NodeId, Asked> asked;
    std::uint64_t version{0};  ///< Stored by us: the mirror is waited for.
    bool storing{false};
  };
  void tick();
  void schedule(Duration delay);
  bool read_task();
  void ask_nodes();
  void ask_drain(liveness::Peer peer);
  void ask_restart(liveness::Peer peer);
  void count_statements(const placement::ClusterView& view);
  void take_statements(liveness::Peer peer, const proto::StatementsReply& reply);
  lifecycle::RollingView look(const placement::ClusterView& view) const;
  lifecycle::RollingNode look_at(NodeId id, const placement::ClusterView& view) const;
  void store(const lifecycle::RollingMachine::Todo& todo);
  void carry_out(const lifecycle::RollingOrder& order);
  void begin_restart(const lifecycle::RollingOrder& order);
  void answered(const lifecycle::RollingOrder& order, const Result<std::uint64_t>& result);
  std::string by() const;

  Loop& loop_;
  const Ports ports_;
  std::optional<Running> running_;
  lifecycle::StatementCounts total_;  ///< Of all gateways since this runner began to count.
  std::map<NodeId, std::pair<Incarnation, lifecycle::StatementCounts>> counted_;
  Instant count_again_{}, ask_again_{};
  Loop::TimerId timer_{0};
  Instant due_{};
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

/// What is stored of a rolling restart; `out` has the fields that every task has.
void describe_rolling(const meta::TaskRecord& task, const placement::ClusterView& view, proto::TaskStatus& out);
/// What a gateway has counted, for the leader frontend's windows.
lifecycle::StatementCounts statement_counts(const proto::StatementsReply& reply);

}  // namespace outlast::server
