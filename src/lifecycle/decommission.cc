#include "lifecycle/decommission.h"

#include <algorithm>

namespace outlast::lifecycle {
using Kind = DecommissionOrder::Kind;
using Presence = LeavingNode::Presence;
using Stage = DecommissionStage;

StallReason before_final(const LeavingNode& node) {
  if (node.presence == Presence::kSilent) return StallReason::kSilentNode;
  if (node.replicas > 0) return StallReason::kReplicas;
  if (node.leases > 0) return StallReason::kLeases;
  if (node.tasks > 0) return StallReason::kTasks;
  if (node.presence == Presence::kDead) {
    if (!node.fenced) return StallReason::kNotFenced;
  } else {
    if (node.buffers > 0) return StallReason::kBuffers;
    if (!node.drained) return StallReason::kDrain;
  }
  if (node.last_frontend) return StallReason::kLastFrontend;
  if (node.last_input) return StallReason::kLastInput;
  return StallReason::kNone;
}

namespace {

const LeavingNode* find(const DecommissionView& view, NodeId id) {
  const auto it = std::ranges::find(view.nodes, id, &LeavingNode::node);
  return it == view.nodes.end() ? nullptr : &*it;
}

}  // namespace

std::vector<NodeId> DecommissionMachine::leaving(const DecommissionView& view) const {
  std::vector<NodeId> out;
  for (const DecommissionRecord::Node& wanted : record_.nodes) {
    const LeavingNode* seen = find(view, wanted.node);
    if (seen != nullptr && seen->decommissioning && wanted.leave && !wanted.settled) out.push_back(wanted.node);
  }
  return out;
}

DecommissionStage DecommissionMachine::stage_of(const DecommissionRecord::Node& wanted, const LeavingNode& seen) const {
  if (wanted.settled) return Stage::kSettled;
  if (seen.decommissioned) return Stage::kFinishing;
  const bool held = bugs_.wish_ignored && seen.draining;
  if (!wanted.leave && !held) return Stage::kReturning;
  if (!seen.decommissioning) return Stage::kMarking;
  if (seen.replicas > 0 || seen.leases > 0) return Stage::kMoving;
  if (seen.presence == Presence::kLive && !seen.drained) return Stage::kDraining;
  return Stage::kFinishing;
}

std::optional<DecommissionOrder> DecommissionMachine::order_for(const DecommissionRecord::Node& wanted,
                                                                const LeavingNode& seen) const {
  const auto order = [&](Kind kind) { return DecommissionOrder{kind, wanted.node}; };
  switch (stage_of(wanted, seen)) {
    case Stage::kMarking:
      return order(Kind::kMark);
    case Stage::kMoving:
    case Stage::kSettled:
      return std::nullopt;
    case Stage::kDraining:
      if (seen.draining) return std::nullopt;
      return order(Kind::kDrain);
    case Stage::kReturning:
      if (seen.decommissioning) return order(Kind::kUnmark);
      return order(seen.draining && seen.presence == Presence::kLive ? Kind::kUndrain : Kind::kSettle);
    case Stage::kFinishing:
      break;
  }
  if (seen.decommissioned) return order(Kind::kSettle);
  LeavingNode judged = seen;
  if (bugs_.final_without_buffers) judged.buffers = judged.tasks = 0;
  if (bugs_.silent_is_dead && judged.presence == Presence::kSilent)
    judged.presence = Presence::kDead, judged.fenced = true;
  if (before_final(judged) != StallReason::kNone) return std::nullopt;
  return order(Kind::kFinish);
}

std::vector<DecommissionOrder> DecommissionMachine::advance(Instant now, const DecommissionView& view) {
  std::vector<DecommissionOrder> out;
  std::erase_if(quiet_until_, [&](const auto& each) { return each.second <= now; });
  for (const DecommissionRecord::Node& wanted : record_.nodes) {
    const LeavingNode* seen = find(view, wanted.node);
    if (seen == nullptr || !view.metadata) continue;
    const auto order = order_for(wanted, *seen);
    if (!order || quiet_until_.contains(*order)) continue;
    quiet_until_[*order] = now + kAnswerLimit;
    out.push_back(*order);
  }
  measure(now, view);
  judge_stall(now, view);
  return out;
}

void DecommissionMachine::answered(const DecommissionOrder& order, const Result<void>& result, Instant now) {
  // What was done shows in the next view; until then the order is not repeated.
  quiet_until_[order] = now + kRest;
  last_refusal_ = result.ok() ? "" : std::string(to_string(order.kind)) + ": " + result.error().message;
}

bool DecommissionMachine::should_try_another_way() {
  return std::exchange(try_another_way_, false);
}

DecommissionRecord DecommissionMachine::settled(const DecommissionRecord& now, const LeavingNode& seen) {
  DecommissionRecord next = now;
  DecommissionRecord::Node* node = next.find(seen.node);
  if (node == nullptr || node->settled) return next;
  node->settled = true;
  node->leave = seen.decommissioned;
  // A drained process fences itself as soon as its node is decommissioned, and is silent from then on.
  node->in_absentia = seen.decommissioned && !seen.drained && seen.presence != Presence::kLive;
  node->possible_loss_bytes = node->in_absentia ? seen.buffers : 0;
  ++next.version;
  return next;
}

void DecommissionMachine::measure(Instant now, const DecommissionView& view) {
  progress_ = {.stall = std::move(progress_.stall)};
  Mark mark;
  for (const DecommissionRecord::Node& wanted : record_.nodes) {
    const LeavingNode* seen = find(view, wanted.node);
    if (seen == nullptr) continue;
    const Stage stage = stage_of(wanted, *seen);
    progress_.stage = std::min(progress_.stage, stage);
    progress_.bytes_at_start += wanted.bytes_at_start;
    progress_.nodes.push_back({wanted.node, stage, seen->replicas, seen->bytes});
    mark.stages += static_cast<int>(stage);
    if (stage == Stage::kSettled) continue;
    progress_.replicas_left += seen->replicas;
    mark.rest += seen->leases + seen->tasks + seen->buffers;
  }
  progress_.bytes_left = view.copy.bytes_left;
  if (progress_.stage <= Stage::kMoving) {
    pace_.sample(now, view.copy);
    progress_.estimate = pace_.estimate();
  }
  mark.replicas = progress_.replicas_left;
  mark.bytes = view.copy.bytes_left;
  const bool anew = !best_ || seen_version_ != record_.version;
  // A copy that begins anew elsewhere has more left than before: what counts is that bytes arrive.
  if (anew || mark.stages > best_->stages || mark.replicas < best_->replicas || mark.bytes < best_->bytes ||
      mark.rest < best_->rest) {
    moved_ = now;
    tried_since_ = false;
  }
  if (anew) best_ = mark;
  best_ = Mark{std::max(best_->stages, mark.stages), std::min(best_->replicas, mark.replicas), mark.bytes,
               std::min(best_->rest, mark.rest)};
  seen_version_ = record_.version;
  // What is left is no copy: how fast those were says nothing of it.
  if (mark.replicas > 0 && mark.bytes == 0 && now - moved_ >= kNoCopy) progress_.estimate.eta.reset();
}

StallReason DecommissionMachine::obstacle_of(const LeavingNode& seen) const {
  return seen.decommissioned ? StallReason::kNone : before_final(seen);
}

/// Nothing is left but to hear that a silent node deleted its data: the silence is the reason.
bool DecommissionMachine::waits_for_silent_node(const DecommissionView& view) const {
  return std::ranges::all_of(view.obstacles, [](const Obstacle& o) { return o.reason == StallReason::kDeletion; }) &&
         std::ranges::any_of(view.nodes, [](const LeavingNode& n) { return n.presence == Presence::kSilent; });
}

void DecommissionMachine::judge_stall(Instant now, const DecommissionView& view) {
  const Obstacle before = std::exchange(progress_.stall, {});
  if (record_.over()) return;
  const Duration idle = now - moved_;
  if (idle >= kRetry && (!tried_since_ || now - tried_ >= kRetry)) {
    try_another_way_ = tried_since_ = true;
    tried_ = now;
    if (bugs_.retry_is_progress) moved_ = now;
  }
  if (idle < kStall) return;
  Obstacle& stall = progress_.stall;
  if (!view.metadata) {
    stall = {StallReason::kMetadata, "the metadata store does not answer", {}};
    return;
  }
  if (progress_.replicas_left > 0 && !waits_for_silent_node(view)) {
    const auto worse = [](const Obstacle& a, const Obstacle& b) {  // queued ones wait for the others
      const bool a_waits = a.reason == StallReason::kQueued, b_waits = b.reason == StallReason::kQueued;
      return a_waits != b_waits ? a_waits : a.ranges.size() < b.ranges.size();
    };
    if (const auto it = std::ranges::max_element(view.obstacles, worse); it != view.obstacles.end()) {
      stall = *it;
      return;
    }
    // Steps are under way, and none has helped yet: what was told is told on until one does.
    if (!before.ranges.empty()) {
      stall = before;
      return;
    }
  }
  for (const LeavingNode& seen : view.nodes) {
    const DecommissionRecord::Node* wanted = record_.find(seen.node);
    if (wanted == nullptr || wanted->settled || !wanted->leave) continue;
    const StallReason reason = obstacle_of(seen);
    if (reason == StallReason::kNone) continue;
    stall = {reason, "node " + seen.node.to_string() + " waits: " + std::string(to_string(reason)), {}};
    if (reason == StallReason::kDrain && !seen.drain_blocker.empty()) stall.why += ", " + seen.drain_blocker;
    return;
  }
  stall = {StallReason::kRefused, last_refusal_.empty() ? "no step was answered" : last_refusal_, {}};
}

}  // namespace outlast::lifecycle
