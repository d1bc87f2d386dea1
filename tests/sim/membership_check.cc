// MembershipHistory: what is checked at every step, of what is told, and in the end.
#include <algorithm>

#include "tests/sim/membership.h"

namespace outlast::sim {
using placement::Membership;
using placement::NodeView;
using Kind = placement::Step::Kind;

namespace {
constexpr int kStallTicks = 20;  // 10 s
constexpr int kSlack = 3;        // what a tick is late
}  // namespace

/// A decision is judged by the view that it was made from.
void MembershipHistory::check_step(const Leader& leader, const Step& step) {
  const auto& view = *leader.view;
  const auto& range = view.ranges[step.range.value - 1];
  const NodeView& node = view.nodes[step.node.value - 1];
  const std::string name = "range " + step.range.to_string() + ", node " + step.node.to_string() + ": ";
  if (step.kind == Kind::kAddReplica || step.kind == Kind::kTransferLease) {
    if (!node.takes_replicas()) fail(name + "a replica or lease goes to a node that takes none");
    if (step.kind == Kind::kTransferLease && range.find_insync(step.node) == nullptr)
      fail(name + "a lease goes to who is not in sync");
  }
  if (step.kind == Kind::kAddReplica) {
    std::uint64_t coming = range.bytes;
    for (const auto& each : view.ranges)
      if (!each.learners.empty() && each.find_learner(step.node) != nullptr) coming += each.missing_on(step.node);
    if (coming > node.disk.available_bytes) fail(name + "more is placed on its disk than it has space for");
  }
  if (step.kind != Kind::kRemoveReplica && step.kind != Kind::kReduceReplication) return;
  if (range.find_insync(step.node) == nullptr) return;
  const auto stay = std::ranges::count_if(range.insync, [&](const auto& ref) {
    return ref.node != step.node && view.nodes[ref.node.value - 1].health == NodeView::Health::kLive;
  });
  const int floor = step.kind == Kind::kReduceReplication ? step.rf : range.rf;
  if (stay < floor) fail(name + "a move lowers the in-sync set to " + std::to_string(stay));
  if (floor < std::min(3, range.rf)) fail(name + "the replication factor is reduced below three");
}

std::string MembershipHistory::progress_seen(const Leader& leader) const {
  std::string out = std::to_string(leader.task->record().version);
  const auto& moves = leader.task->moves();
  for (const auto& node : leader.task->nodes())
    out += "," + std::to_string(node.decommissioning) + std::to_string(node.decommissioned) +
           std::to_string(node.drained) + std::to_string(node.draining) + std::to_string(node.tasks) +
           std::to_string(node.buffers) + std::to_string(static_cast<int>(node.presence)) + ":" +
           std::to_string(node.replicas) + ":" + std::to_string(node.leases);
  return out + "/" + std::to_string(moves.bytes_left);
}

/// Truthful: what is told is what the view says, and a task that stands says why within ten seconds.
void MembershipHistory::check_progress(Leader& leader) {
  const auto& progress = leader.task->progress();
  if (leader.deaf == 0) {
    std::uint64_t left = 0;
    for (const auto& node : leader.task->record().nodes) {
      const NodeView& seen = leader.view->nodes[node.node.value - 1];
      if (!node.leave || node.settled || seen.membership != Membership::kDecommissioning) continue;
      for (const auto& range : leader.view->ranges) {
        left += range.find(node.node) != nullptr ? 1 : 0;
        if (seen.health == NodeView::Health::kDead) continue;
        for (const auto& ref : range.removed) left += ref.node == node.node ? 1 : 0;
      }
      if (large_) break;
    }
    if (!large_ && progress.replicas_left != left)
      fail("told " + std::to_string(progress.replicas_left) + " replicas left, seen " + std::to_string(left));
  }
  const std::string seen = progress_seen(leader);
  if (seen != leader.seen) leader.seen = seen, leader.seen_ticks = 0;
  ++leader.seen_ticks;
  if (progress.stall.reason != lifecycle::StallReason::kNone) ++outcome_.stalls;
  if (leader.task->record().over() || leader.seen_ticks <= kStallTicks + kSlack) return;
  if (progress.stall.reason == lifecycle::StallReason::kNone)
    fail("nothing moved for " + std::to_string(leader.seen_ticks / 2) + " s and no stall is named");
  if (progress.stall.why.empty()) fail("a stall is named without a reason");
}

void MembershipHistory::check_end() {
  for (const auto& node : world_->task().nodes) {
    const auto membership = world_->find(node.node)->view.membership;
    if ((membership == Membership::kDecommissioned) != node.leave || membership == Membership::kDecommissioning)
      fail("node " + node.node.to_string() + ": the record tells another outcome than its membership");
    if (!node.leave && world_->find(node.node)->view.draining)
      fail("node " + node.node.to_string() + ": it stays and still drains");
    if (world_->told[node.node] != node.leave)
      fail("node " + node.node.to_string() + ": an operator was told another outcome");
  }
  // The planner repairs a few ranges at once: after the end of a node of a large cluster it works on for long.
  if (large_ && std::ranges::any_of(world_->nodes, [](const auto& node) { return node.gone; })) return;
  // Whole, as far as there is room: the placement beside the task may have lost the race for the last disk.
  const auto view = world_->view();
  const placement::Targets targets(view, {}, settings_.targets);
  for (const auto& range : view.ranges) {
    std::vector<NodeId> members;
    for (const auto& ref : range.insync)
      if (world_->find(ref.node)->reachable()) members.push_back(ref.node);
    if (static_cast<int>(members.size()) < range.rf && range.learners.empty() && !members.empty() &&
        targets.choose(range, NodeId(), members, random_))
      fail("range " + range.range.to_string() + " is under-replicated after it");
  }
}

}  // namespace outlast::sim
