#include "tasks/decommission_task.h"

#include <algorithm>

namespace outlast::tasks {
namespace {
using lifecycle::LeavingNode;
using lifecycle::StallReason;
using placement::BlockReason;
using placement::NodeView;

StallReason stall_of(BlockReason reason) {
  switch (reason) {
    case BlockReason::kNotEnoughNodes:
      return StallReason::kNotEnoughNodes;
    case BlockReason::kDiskSpace:
      return StallReason::kDiskSpace;
    case BlockReason::kFailureDomain:
      return StallReason::kFailureDomain;
    case BlockReason::kUnavailable:
      return StallReason::kUnavailable;
    case BlockReason::kNoLeaseholder:
      return StallReason::kNoLeaseholder;
    case BlockReason::kRefused:
      return StallReason::kRefused;
    case BlockReason::kCopying:
      return StallReason::kCopying;
    case BlockReason::kQueued:
      return StallReason::kQueued;
    case BlockReason::kSilentMember:
      return StallReason::kSilentMember;
    case BlockReason::kDeletion:
      return StallReason::kDeletion;
  }
  return StallReason::kNone;
}

LeavingNode::Presence presence_of(NodeView::Health health) {
  if (health == NodeView::Health::kLive) return LeavingNode::Presence::kLive;
  return health == NodeView::Health::kDead ? LeavingNode::Presence::kDead : LeavingNode::Presence::kSilent;
}

}  // namespace

DecommissionTask::Todo DecommissionTask::advance(Instant now, const placement::ClusterView& view,
                                                 std::vector<LeavingNode> nodes, bool metadata, Random& random,
                                                 std::span<const NodeId> others) {
  Todo todo;
  seen_.metadata = metadata;
  if (metadata) {
    seen_.nodes = std::move(nodes);
    look_at_nodes(view);
    const std::vector<NodeId> leaving = machine_.leaving(seen_);
    todo.steps = mover_.next(now, view, leaving, random, others);
    look_at_moves(view, leaving);
  }
  todo.orders = machine_.advance(now, seen_);
  if (machine_.should_try_another_way()) mover_.try_another_way();
  return todo;
}

void DecommissionTask::look_at_nodes(const placement::ClusterView& view) {
  bool frontend_stays = false, input_stays = false;
  for (const NodeView& node : view.nodes) {
    const auto it = std::ranges::find(seen_.nodes, node.id, &LeavingNode::node);
    const bool stays = node.stays() && it == seen_.nodes.end();
    frontend_stays |= stays && node.frontend;
    input_stays |= stays && node.inputs > 0;
    if (it == seen_.nodes.end()) continue;
    it->last_frontend = node.frontend;
    it->last_input = node.inputs > 0;
    it->decommissioning = node.membership == placement::Membership::kDecommissioning;
    it->decommissioned = node.membership == placement::Membership::kDecommissioned;
    it->presence = presence_of(node.health);
    // One that was asked to stay, or will be, is counted as staying by the next task.
    const lifecycle::DecommissionRecord::Node* wanted = record().find(node.id);
    if (wanted == nullptr || wanted->leave || !node.stays()) continue;
    frontend_stays |= node.frontend;
    input_stays |= node.inputs > 0;
  }
  for (LeavingNode& node : seen_.nodes) {
    node.last_frontend &= !frontend_stays;
    node.last_input &= !input_stays;
  }
}

void DecommissionTask::look_at_moves(const placement::ClusterView& view, std::span<const NodeId> leaving) {
  const placement::MoveState& state = mover_.state();
  for (LeavingNode& node : seen_.nodes)
    for (const auto& left : state.nodes)
      if (left.node == node.node) node.replicas = left.replicas, node.bytes = left.bytes, node.leases = left.leases;
  seen_.copy = {.bytes_left = state.bytes_left, .largest_left = state.largest_left, .rate_max = rate_max_};
  for (const auto& target : state.targets) seen_.copy.targets.push_back({target.node, target.bytes_left});
  for (const auto& sender : state.senders) seen_.copy.senders.push_back({sender.node, sender.bytes_left});
  seen_.copy.targets_possible = static_cast<std::size_t>(std::ranges::count_if(view.nodes, [&](const NodeView& node) {
    return node.takes_replicas() && std::ranges::find(leaving, node.id) == leaving.end();
  }));
  std::map<std::pair<StallReason, std::string>, std::vector<RangeId>> groups;
  for (const auto& each : state.waiting) {
    auto& ranges = groups[{stall_of(each.reason), each.error}];
    if (ranges.empty() || ranges.back() != each.range) ranges.push_back(each.range);
  }
  seen_.obstacles.clear();
  for (auto& [key, ranges] : groups) seen_.obstacles.push_back({key.first, key.second, std::move(ranges)});
}

}  // namespace outlast::tasks
