// RollingMachine: what a node's step asks for, and when the next one follows.
#include <algorithm>

#include "lifecycle/rolling.h"

namespace outlast::lifecycle {
using Kind = RollingOrder::Kind;

namespace {
/// Another process than the one that was to be replaced serves.
bool replaced(const RollingNode& seen, const RollingRecord::Node& node) {
  return seen.live && seen.incarnation > node.before;
}
bool is_same(const RollingNode& seen, const RollingRecord::Node& node) {
  return seen.live && seen.incarnation == node.before;
}
void fail(RollingRecord::Node& node, std::string why) {
  node.step = RollingStep::kFailed;
  node.note = std::move(why);
}
}  // namespace

void RollingMachine::step(Instant now, const RollingView& view, const RollingNode& seen, Node& node, Todo& todo) {
  switch (node.step) {
    case RollingStep::kPending:
      if (seen.member) return;
      node.step = RollingStep::kSkipped;
      node.note = "it leaves the cluster";
      return;
    case RollingStep::kDraining:
    case RollingStep::kCommand:
      return step_command(now, view, seen, node, todo);
    case RollingStep::kRunning:
      return step_running(now, view, seen, node, todo);
    case RollingStep::kRestarting:
      return step_restarting(now, view, seen, node, todo);
    case RollingStep::kReturning:
      return step_returning(now, seen, view, node, todo);
    case RollingStep::kBackingOut:
      if (is_same(seen, node) && seen.draining) {
        wait_for(node.node, "it takes its drain back");
        return order(now, {Kind::kUndrain, node.node, seen.incarnation}, todo);
      }
      node.step = RollingStep::kPending;
      return;
    case RollingStep::kFailed:
      if (is_same(seen, node) && seen.draining) order(now, {Kind::kUndrain, node.node, seen.incarnation}, todo);
      return;
    case RollingStep::kDone:
    case RollingStep::kSkipped:
      return;
  }
}

/// Before the command: drained, and claimed by a command line.
void RollingMachine::step_command(Instant now, const RollingView& view, const RollingNode& seen, Node& node,
                                  Todo& todo) {
  const auto leave_for = [&](RollingStep step) {
    node.step = step;
    node.claim.reset();
  };
  if (!is_same(seen, node)) return leave_for(RollingStep::kPending);  // it ended, whatever the reason
  if (halting(view)) return leave_for(RollingStep::kBackingOut);
  if (node.claim && claim_is_stale(now, node)) node.claim.reset();
  if (!seen.drained) {
    node.step = RollingStep::kDraining;
    wait_for(node.node, seen.blocker.empty() ? "it drains" : "it drains: " + seen.blocker);
    if (!seen.draining) order(now, {Kind::kDrain, node.node, seen.incarnation}, todo);
    return;
  }
  node.step = RollingStep::kCommand;
  if (!node.claim) {
    if (since(now, node) < kAnswerLimit) return;  // one that is attached comes soon
    return wait_for(node.node,
                    "no command line is attached to run the command: `outlast cluster rolling-restart --attach`");
  }
  if (may_go(view, node)) node.step = RollingStep::kRunning;
}

/// A reboot may take longer than the time after which a node is dead: no replicas are to be built for that.
void RollingMachine::expect_back(Instant now, const RollingView& view, const RollingNode& seen, const Node& node,
                                 Todo& todo) {
  const auto half = std::chrono::duration_cast<std::chrono::microseconds>(kAway).count() / 2;
  if (seen.expected_until_micros < view.wall_micros + half) order(now, {Kind::kExpect, node.node, node.before}, todo);
}

void RollingMachine::step_running(Instant now, const RollingView& view, const RollingNode& seen, Node& node,
                                  Todo& todo) {
  wait_for(node.node, "its command runs");
  expect_back(now, view, seen, node, todo);
  if (!claim_is_stale(now, node)) return;
  // Nobody will say how the command ended.
  if (replaced(seen, node)) {
    node.step = RollingStep::kReturning;
  } else if (is_same(seen, node)) {
    node.step = halting(view) ? RollingStep::kBackingOut : RollingStep::kCommand;
    node.claim.reset();
  } else if (since(now, node) > kReturnLimit) {
    fail(node, "it is not back, and the command line that ran the command is gone: start the node, then resume");
  }
}

void RollingMachine::step_restarting(Instant now, const RollingView& view, const RollingNode& seen, Node& node,
                                     Todo& todo) {
  if (replaced(seen, node)) {
    node.step = RollingStep::kReturning;
    return;
  }
  if (const auto it = restarts_.find(node.node); it != restarts_.end()) node.restart = it->second;
  if (node.restart > 0 && seen.live && seen.receipt.id >= node.restart && !seen.receipt.succeeded)
    return fail(node, "its restart did not take place: " + seen.receipt.why);
  const std::string refusal = refusals_.contains(node.node) ? refusals_.at(node.node) : std::string();
  if (since(now, node) > kReturnLimit)
    return fail(node, node.restart > 0   ? "its restart is not over: see its log, and `outlast restart`"
                      : !refusal.empty() ? refusal
                                         : "it does not answer");
  if (node.restart > 0) return wait_for(node.node, seen.blocker.empty() ? "it is being replaced" : seen.blocker);
  const bool asked = asked_.contains(node.node);
  // It may be in the middle of a restart that another leader frontend asked for.
  if (!is_same(seen, node)) return wait_for(node.node, "it does not answer");
  if (!asked && halting(view)) {
    node.step = RollingStep::kPending;
    return;
  }
  if (!refusal.empty()) wait_for(node.node, refusal);
  if (!may_go(view, node)) return;
  asked_.insert(node.node);
  order(now, {Kind::kRestart, node.node, seen.incarnation}, todo);
}

void RollingMachine::step_returning(Instant now, const RollingNode& seen, const RollingView& view, Node& node,
                                    Todo& todo) {
  const Duration waited = since(now, node);
  if (!seen.live) {
    if (!record_.options.command.empty()) expect_back(now, view, seen, node, todo);
    if (waited > kReturnLimit) return fail(node, "it is not back: see its log, and start it; then resume");
    return wait_for(node.node, "it starts");
  }
  if (is_same(seen, node)) {
    if (waited <= kReplaceLimit) return wait_for(node.node, "its process is not replaced yet");
    if (seen.draining) return order(now, {Kind::kUndrain, node.node, seen.incarnation}, todo);
    node.note = "the command did not replace its process";
  }
  // A handover that the command made carries the drain on.
  if (seen.draining && !record_.options.command.empty())
    order(now, {Kind::kUndrain, node.node, seen.incarnation}, todo);
  const std::string missing = bugs_.no_catch_up ? std::string() : not_back(waited, view, seen, node);
  if (!missing.empty()) return wait_for(node.node, missing);
  if (seen.leases < wanted_leases(view, node) && node.note.empty())
    node.note = "its leases had not come back after a minute";
  node.step = RollingStep::kDone;
  node.claim.reset();
}

/// A node's fair share, or what it had when that was less; evenness ends at a difference of one.
std::uint64_t RollingMachine::wanted_leases(const RollingView& view, const Node& node) {
  const std::uint64_t fair = view.live_nodes == 0 ? 0 : view.leases / view.live_nodes;
  const std::uint64_t least = std::min(fair, node.leases);
  return least > 0 ? least - 1 : 0;
}

std::string RollingMachine::not_back(Duration waited, const RollingView& view, const RollingNode& seen,
                                     const Node& node) {
  if (seen.draining) return "it still drains";
  if (seen.learners > 0 && seen.insync < node.insync)
    return std::to_string(seen.learners) + (seen.learners == 1 ? " replica catches" : " replicas catch") + " up";
  if (seen.leases < wanted_leases(view, node) && waited <= kLeasesLimit)
    return "it has " + std::to_string(seen.leases) + " leases, " + std::to_string(wanted_leases(view, node)) +
           " are to come back";
  return {};
}

/// Whoever runs a command says so again and again.
bool RollingMachine::claim_is_stale(Instant now, const Node& node) {
  if (!node.claim) return true;
  auto& [claim, seen] = beats_.try_emplace(node.node, *node.claim, now).first->second;
  if (claim != *node.claim) claim = *node.claim, seen = now;
  return now - seen > kClaimLimit;
}

void RollingMachine::begin_batch(const RollingView& view, RollingRecord& next) {
  if (halting(view) || !next.baseline || next.over()) return;
  if (std::ranges::any_of(next.nodes, &Node::under_way)) return;
  if (!settled_) {
    waiting_ = "a window without a restart in it is compared with the baseline";
    return;
  }
  std::vector<NodeId> candidates;
  NodeId leader;
  for (const Node& node : next.nodes) {
    if (node.step != RollingStep::kPending) continue;
    const auto seen = std::ranges::find(view.nodes, node.node, &RollingNode::node);
    if (seen != view.nodes.end() && seen->leader)
      leader = node.node;
    else
      candidates.push_back(node.node);
  }
  if (candidates.empty()) candidates.push_back(leader);
  RollingChoice choice = view.choose(candidates, {}, at_once(next.options, view.live_nodes));
  if (choice.nodes.empty() && choice.alone && next.options.command.empty()) choice.nodes.push_back(choice.alone);
  if (choice.nodes.empty()) {
    waiting_ = "no further node may stop now: " + choice.why;
    return;
  }
  ++next.batches;
  for (const NodeId id : choice.nodes) begin_turn(view, next, *next.find(id));
}

void RollingMachine::begin_turn(const RollingView& view, const RollingRecord& next, Node& node) {
  const auto seen = std::ranges::find(view.nodes, node.node, &RollingNode::node);
  node.step = next.options.command.empty() ? RollingStep::kRestarting : RollingStep::kDraining;
  node.batch = next.batches;
  node.before = seen->incarnation;
  node.leases = seen->leases;
  node.insync = seen->insync;
  node.restart = 0;
  node.began_micros = view.wall_micros;
}

}  // namespace outlast::lifecycle
