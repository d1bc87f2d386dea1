#include "server/rolling_api.h"

#include <algorithm>

#include "placement/safe_to_stop.h"
#include "tasks/rolling_choice.h"

namespace outlast::server {
using lifecycle::RollingOptions;
using lifecycle::RollingRecord;
using placement::NodeView;

namespace {
RollingOptions options_of(const proto::RollingRestartRequest& request) {
  RollingOptions options;
  options.batch = request.batch();
  options.command = request.command();
  if (request.max_p99_ratio() > 0) options.max_p99_ratio = request.max_p99_ratio();
  if (request.windows() > 0) options.windows = request.windows();
  if (request.window_ms() > 0) options.window = std::chrono::milliseconds(request.window_ms());
  return options;
}

/// Why the node cannot be part of it; empty: it can.
std::string unfit(const NodeView& node) {
  if (node.membership != placement::Membership::kActive) return "it is " + std::string(to_string(node.membership));
  if (node.health != NodeView::Health::kLive) return "it does not answer: start it first";
  if (node.draining) return "it drains: wait for its end, or undrain it";
  return {};
}

/// The nodes that it is about; those named must all be fit.
Result<std::vector<NodeId>> nodes_of(const placement::ClusterView& view, const proto::RollingRestartRequest& request,
                                     proto::RollingRestartReply& reply) {
  std::vector<NodeId> nodes;
  for (const std::uint32_t id : request.nodes()) {
    const auto found = std::ranges::find(view.nodes, NodeId(id), &NodeView::id);
    const std::string name = "node " + std::to_string(id);
    if (found == view.nodes.end()) return Error(Errc::kNotFound, "there is no " + name + ": see `outlast node status`");
    if (const std::string why = unfit(*found); !why.empty()) return Error(Errc::kInvalidArgument, name + ": " + why);
    if (std::ranges::find(nodes, found->id) == nodes.end()) nodes.push_back(found->id);
  }
  if (request.nodes_size() > 0) return nodes;
  for (const NodeView& node : view.nodes) {
    if (node.membership == placement::Membership::kDecommissioned) continue;
    const std::string why = unfit(node);
    if (why.empty()) {
      nodes.push_back(node.id);
      continue;
    }
    auto& left = *reply.add_left();
    left.set_node(node.id.value);
    left.set_why(why);
  }
  if (nodes.empty()) return Error(Errc::kInvalidState, "no node can be restarted: see `outlast node status`");
  return nodes;
}

/// A drain of such a node would never end, or writes would wait for as long as its process is away.
Result<void> check_spare(const placement::StopSet& set) {
  for (const auto& left : set.left)
    if (left.reason == placement::StopReason::kNoSpare)
      return Error(Errc::kInvalidState, "node " + left.node.to_string() + ": " + left.why +
                                            "; without --command it is restarted with no downtime all the same");
  return {};
}
}  // namespace

Result<RollingPlan> plan_rolling_restart(const placement::ClusterView& view,
                                         const proto::RollingRestartRequest& request, NodeId leader) {
  RollingPlan plan;
  plan.record.options = options_of(request);
  ASSIGN_OR_RETURN(std::vector<NodeId> nodes, nodes_of(view, request, plan.reply));
  const placement::StopSet set = safe_to_stop(view, {.candidates = nodes});
  if (!plan.record.options.command.empty()) TRY(check_spare(set));
  for (const NodeId node : nodes) plan.record.nodes.push_back({.node = node});
  for (const auto& batch : tasks::plan_batches(view, nodes, leader, plan.record.options)) {
    auto& out = *plan.reply.add_batches();
    for (const NodeId node : batch) {
      out.add_nodes(node.value);
      std::erase(nodes, node);
    }
  }
  for (const NodeId node : nodes) {  // it is waited for
    const auto* why = set.find_left(node);
    auto& left = *plan.reply.add_left();
    left.set_node(node.value);
    left.set_why((why == nullptr ? "it cannot stop" : why->why) + "; it is waited for");
  }
  return plan;
}

void begin_rolling_restart(meta::Store& store, RollingRecord record, std::string by, std::int64_t wall_micros,
                           Callback<std::uint64_t> done) {
  meta::NewTask task{
      .kind = std::string(meta::kRollingRestartTask), .by = std::move(by), .started_micros = wall_micros, .body = {}};
  task.body = [body = encode(record)](std::uint64_t,
                                      const std::vector<meta::TaskRecord>& there) -> Result<std::string> {
    for (const meta::TaskRecord& other : there)
      if (other.kind == meta::kRollingRestartTask && !is_over(other.state))
        return Error(Errc::kAlreadyExists,
                     "task " + std::to_string(other.id) + " is a rolling restart that is " +
                         std::string(to_string(other.state)) +
                         ": follow it with `outlast cluster rolling-restart --attach`, or end it with `outlast task "
                         "cancel " +
                         std::to_string(other.id) + "`");
    return body;
  };
  meta::create_task(store, std::move(task), [done = std::move(done)](Result<meta::TaskRecord> made) mutable {
    done(made.ok() ? Result<std::uint64_t>(made->id) : std::move(made).error());
  });
}

proto::SafeToStopReply safe_to_stop_reply(const placement::ClusterView& view, const proto::SafeToStopRequest& request) {
  const placement::StopSet set =
      safe_to_stop(view, {.max = request.max() > 0 ? request.max() : placement::StopRules::kNoLimit});
  proto::SafeToStopReply reply;
  reply.set_largest(set.largest);
  for (const NodeId node : set.nodes) reply.add_nodes(node.value);
  for (const auto& left : set.left) {
    auto& out = *reply.add_left();
    out.set_node(left.node.value);
    out.set_reason(std::string(to_string(left.reason)));
    out.set_why(left.why);
    out.set_range(left.range.value);
  }
  return reply;
}

Result<meta::TaskRecord> after_command_line(const meta::TaskRecord& now, const proto::TasksRequest& request) {
  if (now.kind != meta::kRollingRestartTask || is_over(now.state))
    return Error(Errc::kInvalidState,
                 "task " + std::to_string(now.id) + " is no rolling restart under way: nothing is to be run for it");
  ASSIGN_OR_RETURN(const RollingRecord record, lifecycle::decode_rolling_record(now.body));
  const NodeId node(request.node());
  auto next = request.action() == proto::TasksRequest::CLAIM
                  ? claim_command(record, node, request.token(), request.beat())
                  : report_command(record, node, request.token(), request.exit(), request.message());
  if (!next.ok()) return std::move(next).error();
  meta::TaskRecord out = now;
  out.body = encode(*next);
  return out;
}

}  // namespace outlast::server
