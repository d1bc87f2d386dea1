#include "server/task_progress.h"

#include <algorithm>
#include <utility>

#include "base/parse.h"
#include "server/rolling_runner.h"

namespace outlast::server {
using lifecycle::DecommissionRecord;
using lifecycle::LeavingNode;
using lifecycle::StallReason;

namespace {
std::string settled_word() {
  return std::string(to_string(lifecycle::DecommissionStage::kSettled));
}

std::uint64_t millis(Duration d) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, d / std::chrono::milliseconds(1)));
}

void add_nodes(const DecommissionRecord& record, const placement::ClusterView& view, proto::TaskStatus& out) {
  std::uint64_t bytes = 0;
  for (const DecommissionRecord::Node& node : record.nodes) {
    auto& one = *out.add_nodes();
    one.set_node(node.node.value);
    one.set_replicas_at_start(node.replicas_at_start);
    one.set_bytes_at_start(node.bytes_at_start);
    one.set_in_absentia(node.in_absentia);
    one.set_possible_loss_bytes(node.possible_loss_bytes);
    if (node.settled) one.set_stage(settled_word());
    bytes += node.bytes_at_start;
    const auto seen = std::ranges::find(view.nodes, node.node, &placement::NodeView::id);
    if (seen == view.nodes.end()) continue;
    one.set_membership(std::string(to_string(seen->membership)));
    one.set_is_live(seen->health == placement::NodeView::Health::kLive);
    one.set_is_draining(seen->draining);
  }
  out.set_bytes_at_start(bytes);
}

/// What the node waits for, in a few words.
std::string blocker_of(const LeavingNode& node, const lifecycle::DecommissionProgress& progress) {
  if (node.decommissioned) return {};
  const StallReason reason = before_final(node);
  if (reason == StallReason::kNone) return {};
  if (reason == StallReason::kReplicas && progress.stall.reason != StallReason::kNone) return progress.stall.why;
  std::string out(to_string(reason));
  if (reason == StallReason::kDrain && !node.drain_blocker.empty()) out += ": " + node.drain_blocker;
  return out;
}

void add_node(const lifecycle::DecommissionProgress::Node& now, const tasks::DecommissionTask& task,
              proto::TaskStatus::Node& out) {
  out.set_stage(std::string(to_string(now.stage)));
  if (now.stage == lifecycle::DecommissionStage::kSettled) return;
  out.set_replicas(now.replicas);
  out.set_bytes(now.bytes);
  const auto seen = std::ranges::find(task.nodes(), now.node, &LeavingNode::node);
  const DecommissionRecord::Node* wanted = task.record().find(now.node);
  if (seen == task.nodes().end() || wanted == nullptr || !wanted->leave) return;
  out.set_blocker(blocker_of(*seen, task.progress()));
  if (seen->presence != LeavingNode::Presence::kDead) return;
  out.set_in_absentia(true);
  out.set_possible_loss_bytes(seen->buffers);
}

std::string names(const std::vector<const DecommissionRecord::Node*>& nodes) {
  std::string out = nodes.size() == 1 ? "node " : "nodes ";
  for (std::size_t i = 0; i < nodes.size(); ++i) out += (i == 0 ? "" : ", ") + nodes[i]->node.to_string();
  return out;
}
}  // namespace

proto::TaskStatus describe(const meta::TaskRecord& task, const placement::ClusterView& view) {
  proto::TaskStatus out;
  out.set_id(task.id);
  out.set_kind(task.kind);
  out.set_state(std::string(to_string(task.state)));
  out.set_by(task.by);
  out.set_started_micros(task.started_micros);
  out.set_ended_micros(task.ended_micros);
  out.set_outcome(task.outcome);
  out.set_eta_ms(-1);
  if (task.kind == meta::kRollingRestartTask) describe_rolling(task, view, out);
  if (task.kind != meta::kDecommissionTask) return out;
  if (const auto record = lifecycle::decode_decommission_record(task.body); record.ok()) add_nodes(*record, view, out);
  return out;
}

void add_progress(const tasks::DecommissionTask& task, proto::TaskStatus& out) {
  const lifecycle::DecommissionProgress& progress = task.progress();
  out.set_has_progress(true);
  out.set_stage(std::string(to_string(progress.stage)));
  for (const auto& now : progress.nodes)
    for (auto& node : *out.mutable_nodes())
      if (node.node() == now.node.value && node.stage() != settled_word()) add_node(now, task, node);
  out.set_replicas_left(progress.replicas_left);
  out.set_bytes_left(progress.bytes_left);
  const lifecycle::Estimate& estimate = progress.estimate;
  out.set_bytes_per_second(estimate.rate);
  out.set_eta_ms(estimate.eta ? static_cast<std::int64_t>(millis(*estimate.eta)) : -1);
  out.set_eta_at_least_ms(millis(estimate.at_least));
  if (estimate.bottleneck != lifecycle::Bottleneck::kNone)
    out.set_bottleneck(std::string(to_string(estimate.bottleneck)));
  out.set_bottleneck_node(estimate.node.value);
  if (progress.stall.reason == StallReason::kNone) return;
  out.mutable_stall()->set_reason(std::string(to_string(progress.stall.reason)));
  out.mutable_stall()->set_why(progress.stall.why);
  for (const RangeId range : progress.stall.ranges) out.mutable_stall()->add_ranges(range.value);
}

void merge_progress(const proto::TasksReply& said, proto::TasksReply& reply) {
  for (proto::TaskStatus& task : *reply.mutable_tasks())
    for (const proto::TaskStatus& theirs : said.tasks()) {
      if (theirs.id() != task.id() || !theirs.has_progress() || task.owner() == 0) continue;
      const proto::TaskStatus ours = std::exchange(task, theirs);
      for (const auto& node : ours.nodes()) {
        const auto same = std::ranges::find(*task.mutable_nodes(), node.node(), &proto::TaskStatus::Node::node);
        if (node.stage() == settled_word() && same != task.mutable_nodes()->end()) *same = node;
      }
    }
}

std::string outcome_of(const DecommissionRecord& record) {
  std::vector<const DecommissionRecord::Node*> gone, stay;
  std::string losses;
  for (const DecommissionRecord::Node& node : record.nodes) {
    (node.leave ? gone : stay).push_back(&node);
    if (node.in_absentia)
      losses += "; node " + node.node.to_string() + " was dead: " +
                (node.possible_loss_bytes == 0
                     ? std::string("its ingest buffers held nothing when it was last heard of")
                     : format_bytes(node.possible_loss_bytes) + " in its ingest buffers are possibly lost");
  }
  std::string out;
  if (!gone.empty()) out = names(gone) + " decommissioned";
  if (!stay.empty()) out += (out.empty() ? "" : "; ") + names(stay) + " recommissioned";
  return out + losses;
}

}  // namespace outlast::server
