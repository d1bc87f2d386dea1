#pragma once
#include <memory>

#include "server/decommission_api.h"
#include "server/replica_sizes.h"
#include "server/task_api.h"
#include "server/task_orders.h"
#include "server/task_runner.h"

namespace outlast::server {

/// A node's part in the cluster's tasks: it runs them while it is the leader frontend, and answers operators at any
/// time.
/// Thread-safety: the loop's. Lifetime: what Parts refers to outlives it.
class NodeTasks {
 public:
  struct Parts {
    Loop& loop;
    Workers& workers;
    meta::Store& meta;
    ClusterState& state;
    meta::LivenessDriver& liveness;
    meta::Office& office;
    rpc::Client& client;
    RangeAdmin& admin;
    NodeId self;
    std::uint64_t seed;
    std::function<void(const placement::Step&, Callback<void>)> take;
    std::function<void(const proto::DrainRequest&, Callback<proto::DrainStatus>)> drain;
    std::function<bool(std::uint64_t task, proto::TaskStatus&)> rolling;  ///< How far a rolling restart is.
  };
  explicit NodeTasks(Parts parts);

  void start() { runner_.start(); }
  void nudge() { runner_.nudge(); }
  /// What the planner of the whole cluster decides by: sizes known, and what tasks move marked as such.
  placement::ClusterView view_for_plan();
  DecommissionApi& decommission() { return decommission_; }
  TaskApi& tasks() { return api_; }

 private:
  TaskRunner::Ports ports();

  const Parts p_;
  ReplicaSizes sizes_;
  TaskOrders orders_;
  TaskRunner runner_;
  DecommissionApi decommission_;
  TaskApi api_;
};

}  // namespace outlast::server
