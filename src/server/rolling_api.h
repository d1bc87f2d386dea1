#pragma once
#include <memory>
#include <optional>

#include "base/loop.h"
#include "lifecycle/rolling_record.h"
#include "meta/tasks.h"
#include "placement/view.h"
#include "proto/peer.pb.h"

namespace outlast::server {

/// What an operator asks for, held against the cluster as it stands. Pure.
struct RollingPlan {
  lifecycle::RollingRecord record;
  proto::RollingRestartReply reply;  ///< Batches, and who is left out.
};
/// `leader` comes last. kNotFound for a node that does not exist; kInvalidArgument for one that cannot be restarted
/// now, when it was named; kInvalidState with a command and a node whose ranges could not do without it.
Result<RollingPlan> plan_rolling_restart(const placement::ClusterView& view,
                                         const proto::RollingRestartRequest& request, NodeId leader);
/// Stores the task. kAlreadyExists while another rolling restart is under way.
void begin_rolling_restart(meta::Store& store, lifecycle::RollingRecord record, std::string by,
                           std::int64_t wall_micros, Callback<std::uint64_t> done);

proto::SafeToStopReply safe_to_stop_reply(const placement::ClusterView& view, const proto::SafeToStopRequest& request);

/// The task after CLAIM or REPORT of an attached command line.
Result<meta::TaskRecord> after_command_line(const meta::TaskRecord& now, const proto::TasksRequest& request);

}  // namespace outlast::server
