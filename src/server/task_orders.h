#pragma once
#include <map>
#include <memory>
#include <string>

#include "lifecycle/decommission.h"
#include "meta/liveness_driver.h"
#include "meta/office.h"
#include "meta/tasks.h"
#include "proto/peer.pb.h"
#include "rpc/client.h"
#include "server/cluster_state.h"

namespace outlast::server {

/// What the leader frontend's tasks do to nodes, and what they have to know of them beside the view: marks, drains, the
/// final transaction, the way back.
/// Thread-safety: the loop's. Lifetime: what Parts refers to outlives it.
class TaskOrders {
 public:
  struct Parts {
    Loop& loop;
    meta::Store& meta;
    ClusterState& state;
    meta::LivenessDriver& liveness;
    meta::Office& office;
    rpc::Client& client;
    NodeId self;
    /// This node's own drain.
    std::function<void(const proto::DrainRequest&, Callback<proto::DrainStatus>)> drain;
  };
  explicit TaskOrders(Parts parts) : p_(std::move(parts)) {}

  /// Fences, tasks, buffers and the drain of a node.
  lifecycle::LeavingNode facts(NodeId node);
  /// Every change of the metadata fails unless the office is held and the task is as it was read.
  void carry_out(const meta::TaskMirror::EntryPtr& task, const lifecycle::DecommissionOrder& order,
                 const lifecycle::LeavingNode& seen, Callback<void> done);

 private:
  void drain(NodeId node, const proto::DrainRequest& request, Callback<proto::DrainStatus> done);
  void ask_blocker(NodeId node);
  void settle(const meta::TaskMirror::Entry& task, const lifecycle::LeavingNode& seen, Callback<void> done);

  struct Blocker {
    Instant asked;
    std::string why;
  };
  const Parts p_;
  std::map<NodeId, Blocker> blockers_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

/// "possible decommission stall detected", or that it goes on: one line for operators.
void report_stall(NodeId self, std::uint64_t task, const lifecycle::Obstacle& stall);

}  // namespace outlast::server
