#pragma once
#include <memory>

#include "meta/office.h"
#include "proto/peer.pb.h"
#include "rpc/client.h"
#include "server/cluster_state.h"
#include "server/task_runner.h"

namespace outlast::server {

/// The cluster's tasks, at any node: what is stored, and how far they are, which the leader frontend is asked for.
/// Thread-safety: the loop's. Lifetime: what Parts refers to outlives it.
class TaskApi {
 public:
  struct Parts {
    Loop& loop;
    meta::Store& meta;
    ClusterState& state;
    meta::LivenessDriver& liveness;
    meta::Office& office;
    rpc::Client& client;
    TaskRunner& runner;
    std::function<bool(std::uint64_t task, proto::TaskStatus&)> rolling;  ///< As TaskRunner::describe().
    NodeId self;
  };
  explicit TaskApi(Parts parts) : p_(parts) {}

  /// `from_node`: nobody else is asked. Refusals come in the reply.
  void handle(const proto::TasksRequest& request, bool from_node, Callback<proto::TasksReply> done);

 private:
  proto::TasksReply stored(std::uint64_t only) const;
  void list(const proto::TasksRequest& request, bool from_node, Callback<proto::TasksReply> done);
  void change(const proto::TasksRequest& request, Callback<proto::TasksReply> done);

  const Parts p_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

/// The task after an operator's PAUSE, RESUME or CANCEL. kInvalidState for one that is over; repeating a wish changes
/// nothing. A cancelled decommission runs on until every node of it that is not decommissioned is active again, a
/// cancelled rolling restart until what it began is back.
Result<meta::TaskRecord> after_wish(const meta::TaskRecord& now, proto::TasksRequest::Action action);

}  // namespace outlast::server
