#include "tasks/rolling_choice.h"

#include <algorithm>

#include "placement/safe_to_stop.h"

namespace outlast::tasks {
using placement::StopReason;
using placement::StopSet;

lifecycle::RollingChoice choose_to_restart(const placement::ClusterView& view, std::vector<NodeId> candidates,
                                           std::vector<NodeId> absent, std::size_t max) {
  StopSet set =
      placement::safe_to_stop(view, {.max = max, .candidates = std::move(candidates), .absent = std::move(absent)});
  lifecycle::RollingChoice choice;
  choice.nodes = std::move(set.nodes);
  for (const StopSet::Left& left : set.left) {
    // A range without a spare replica, and a cluster without a second node: a handover holds statements for a moment.
    const bool held = left.reason == StopReason::kNoSpare || left.reason == StopReason::kLastFrontend;
    if (held && choice.nodes.empty() && !choice.alone) choice.alone = left.node;
    if (left.reason != StopReason::kLimit && choice.why.empty())
      choice.why = "node " + left.node.to_string() + ": " + left.why;
  }
  return choice;
}

std::vector<std::vector<NodeId>> plan_batches(const placement::ClusterView& view, std::vector<NodeId> nodes,
                                              NodeId last, const lifecycle::RollingOptions& options) {
  const auto live = static_cast<std::size_t>(std::ranges::count_if(
      view.nodes, [](const auto& node) { return node.health == placement::NodeView::Health::kLive; }));
  const std::size_t at_once = lifecycle::RollingMachine::at_once(options, live);
  std::vector<std::vector<NodeId>> batches;
  while (!nodes.empty()) {
    std::vector<NodeId> candidates = nodes;
    if (candidates.size() > 1) std::erase(candidates, last);
    lifecycle::RollingChoice choice = choose_to_restart(view, std::move(candidates), {}, at_once);
    if (choice.nodes.empty() && choice.alone && options.command.empty()) choice.nodes.push_back(choice.alone);
    if (choice.nodes.empty()) break;
    for (const NodeId each : choice.nodes) std::erase(nodes, each);
    batches.push_back(std::move(choice.nodes));
  }
  return batches;
}

}  // namespace outlast::tasks
