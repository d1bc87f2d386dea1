#include "lifecycle/rolling.h"

#include <algorithm>
#include <cstdio>

namespace outlast::lifecycle {
using namespace std::chrono_literals;

namespace {
std::string name_of(NodeId node) {
  return "node " + node.to_string();
}
std::string ms(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f ms", value);
  return text;
}
bool any_under_way(const RollingRecord& record) {
  return std::ranges::any_of(record.nodes, &RollingRecord::Node::under_way);
}
}  // namespace

std::string_view to_string(RollingStage stage) {
  switch (stage) {
    case RollingStage::kBaseline:
      return "baseline";
    case RollingStage::kWaiting:
      return "waiting";
    case RollingStage::kDraining:
      return "draining";
    case RollingStage::kCommand:
      return "command";
    case RollingStage::kRestarting:
      return "restarting";
    case RollingStage::kReturning:
      return "returning";
    case RollingStage::kComparing:
      return "comparing";
    case RollingStage::kBackingOut:
      return "backing-out";
    case RollingStage::kPaused:
      return "paused";
    case RollingStage::kOver:
      return "over";
  }
  return "";
}

std::size_t RollingMachine::at_once(const RollingOptions& options, std::size_t live_nodes) {
  return options.batch > 0 ? options.batch : std::max<std::size_t>(1, live_nodes / 4);
}

/// Another leader frontend goes on: it has not seen what came after the last batch.
RollingMachine::RollingMachine(RollingRecord record, PlantedBugs bugs)
    : record_(std::move(record)), bugs_(bugs), settled_(record_.batches == 0) {}

RollingMachine::Todo RollingMachine::advance(Instant now, const RollingView& view) {
  Todo todo;
  waiting_.clear();
  if (!view.metadata) {
    window_.reset();
    waiting_ = "the metadata store does not answer";
    return todo;
  }
  RollingRecord next = record_;
  retry(view, next);
  measure(now, view, next);
  const bool before = any_under_way(next);
  for (Node& node : next.nodes) {
    const auto seen = std::ranges::find(view.nodes, node.node, &RollingNode::node);
    if (seen == view.nodes.end()) continue;
    const auto [entered, is_new] = entered_.try_emplace(node.node, node.step, now);
    if (entered->second.first != node.step) entered->second = {node.step, now};
    if (node.step != RollingStep::kRestarting) asked_.erase(node.node), restarts_.erase(node.node);
    const RollingStep was = node.step;
    step(now, view, *seen, node, todo);
    if (node.step != was && node.step == RollingStep::kDone) node.ended_micros = view.wall_micros;
  }
  if (any_under_way(next)) window_is_clean_ = false;
  if (before && !any_under_way(next)) settled_ = false;
  begin_batch(view, next);
  conclude(view, next, todo);
  stage_ = stage_of(next, view);
  if (next != record_) {
    ++next.version;
    todo.write = std::move(next);
  }
  return todo;
}

/// Resumed after a pause of its own: what had failed is tried again, and the windows begin anew.
void RollingMachine::retry(const RollingView& view, RollingRecord& next) {
  if (view.paused || next.paused_why.empty()) return;
  next.paused_why.clear();
  next.worse_in_a_row = 0;
  for (Node& node : next.nodes) {
    if (node.step != RollingStep::kFailed) continue;
    const auto seen = std::ranges::find(view.nodes, node.node, &RollingNode::node);
    const bool replaced = seen != view.nodes.end() && seen->live && seen->incarnation > node.before;
    node.step = replaced && !node.claim ? RollingStep::kReturning : RollingStep::kPending;
    node.restart = 0;
    node.claim.reset();
    node.note.clear();
    refusals_.erase(node.node);
  }
}

void RollingMachine::measure(Instant now, const RollingView& view, RollingRecord& next) {
  if (!window_) {
    window_ = {now, view.statements};
    window_is_clean_ = true;
    return;
  }
  const Duration passed = now - window_->first;
  const bool baseline = !next.baseline;
  if (passed < (baseline ? next.options.window * next.options.windows : next.options.window)) return;
  RollingWindow window{felt_between(window_->second, view.statements, passed)};
  const bool clean = window_is_clean_;
  window_ = {now, view.statements};
  window_is_clean_ = true;
  if (baseline) {
    next.baseline = window;
    return;
  }
  window.worse = next.batches > 0 && is_worse(window, *next.baseline);
  if (next.batches > 0) {
    next.worst_p99_ms = std::max(next.worst_p99_ms, window.p99_ms);
    next.errors += window.errors;
    next.worse_in_a_row = window.worse ? next.worse_in_a_row + 1 : 0;
  }
  next.windows.push_back(window);
  if (next.windows.size() > RollingRecord::kWindowsKept) next.windows.erase(next.windows.begin());
  if (clean && !window.worse) settled_ = true;
}

bool RollingMachine::is_worse(const RollingWindow& window, const RollingWindow& baseline) const {
  const double share = baseline.statements > 0 ? baseline.errors / baseline.statements : 0;
  if (window.errors > (share + kErrorShare) * window.statements) return true;
  if (window.statements < kTooFew || baseline.statements < kTooFew) return false;
  return window.p99_ms > record_.options.max_p99_ratio * baseline.p99_ms && window.p99_ms > baseline.p99_ms + kLeastMs;
}

Duration RollingMachine::since(Instant now, const Node& node) const {
  const auto it = entered_.find(node.node);
  return it == entered_.end() ? Duration{0} : now - it->second.second;
}

void RollingMachine::wait_for(NodeId node, const std::string& what) {
  if (!what.empty()) waiting_ += (waiting_.empty() ? "" : "; ") + name_of(node) + ": " + what;
}

void RollingMachine::order(Instant now, RollingOrder wanted, Todo& todo) {
  Instant& quiet = quiet_until_[wanted];
  if (now < quiet) return;
  quiet = now + kAnswerLimit;
  todo.orders.push_back(wanted);
}

void RollingMachine::answered(const RollingOrder& order, const Result<std::uint64_t>& result, Instant now) {
  quiet_until_[order] = now + (result.ok() ? kAnswerLimit : kRest);
  if (!result.ok()) {
    refusals_[order.node] = result.error().message;
    return;
  }
  refusals_.erase(order.node);
  if (order.kind == RollingOrder::Kind::kRestart) restarts_[order.node] = *result;
}

/// Whether the node may stop now, beside those that are away already. What was chosen a moment ago may be wrong now,
/// and another leader frontend may have chosen it.
bool RollingMachine::may_go(const RollingView& view, const Node& node) {
  if (bugs_.unsafe_restart) return true;
  std::vector<NodeId> absent;
  for (const Node& other : record_.nodes) {
    const bool away = other.step == RollingStep::kRunning ||
                      (other.step == RollingStep::kRestarting && (other.restart > 0 || asked_.contains(other.node)));
    if (other.node != node.node && away) absent.push_back(other.node);
  }
  const bool nobody_away = absent.empty();
  const RollingChoice choice = view.choose({node.node}, std::move(absent), 1);
  if (std::ranges::find(choice.nodes, node.node) != choice.nodes.end()) return true;
  if (choice.alone == node.node && nobody_away && record_.options.command.empty()) return true;
  wait_for(node.node, choice.why);
  return false;
}

/// Why the task pauses by itself; empty: it goes on.
std::string RollingMachine::pause_reason(const RollingRecord& record) {
  for (const Node& node : record.nodes)
    if (node.step == RollingStep::kFailed) return name_of(node.node) + ": " + node.note;
  if (record.windows.empty() || !record.windows.back().worse || !record.baseline) return {};
  const RollingWindow& last = record.windows.back();
  const RollingWindow& baseline = *record.baseline;
  if (last.errors > (baseline.statements > 0 ? baseline.errors / baseline.statements : 0) * last.statements +
                        kErrorShare * last.statements)
    return std::to_string(static_cast<std::uint64_t>(last.errors)) + " of " +
           std::to_string(static_cast<std::uint64_t>(last.statements)) + " statements failed in the last window";
  if (record.worse_in_a_row < record.options.windows) return {};
  return "p99 was " + ms(last.p99_ms) + " in the last of " + std::to_string(record.worse_in_a_row) +
         " windows in a row, and " + ms(baseline.p99_ms) + " before the first restart";
}

/// The end, or a pause: whatever the record is to say about it.
void RollingMachine::conclude(const RollingView& view, RollingRecord& next, Todo& todo) {
  const bool idle = std::ranges::none_of(
      next.nodes, [](const Node& node) { return node.under_way() && node.step != RollingStep::kFailed; });
  if (next.aborted) {
    if (idle) todo.end = Todo::End::kAborted;
    return;
  }
  if (next.over() && settled_) {
    todo.end = Todo::End::kCompleted;
    return;
  }
  if (view.paused || !next.paused_why.empty()) return;
  next.paused_why = pause_reason(next);
  if (!next.paused_why.empty()) todo.end = Todo::End::kPause;
}

RollingStage RollingMachine::stage_of(const RollingRecord& record, const RollingView& view) {
  const auto any = [&](RollingStep step) {
    return std::ranges::find(record.nodes, step, &Node::step) != record.nodes.end();
  };
  if (any(RollingStep::kBackingOut)) return RollingStage::kBackingOut;
  if (any(RollingStep::kRestarting) || any(RollingStep::kRunning)) return RollingStage::kRestarting;
  if (any(RollingStep::kCommand)) return RollingStage::kCommand;
  if (any(RollingStep::kDraining)) return RollingStage::kDraining;
  if (any(RollingStep::kReturning)) return RollingStage::kReturning;
  if (view.paused) return RollingStage::kPaused;
  if (!record.baseline) return RollingStage::kBaseline;
  if (record.over()) return RollingStage::kComparing;
  return RollingStage::kWaiting;
}

std::string RollingMachine::outcome(const RollingRecord& record) {
  const auto done = std::ranges::count(record.nodes, RollingStep::kDone, &Node::step);
  const auto skipped = std::ranges::count(record.nodes, RollingStep::kSkipped, &Node::step);
  std::string text = std::to_string(done) + " of " + std::to_string(record.nodes.size()) + " nodes restarted in " +
                     std::to_string(record.batches) + (record.batches == 1 ? " batch" : " batches");
  if (skipped > 0) text += ", " + std::to_string(skipped) + " left out";
  if (record.baseline && record.worst_p99_ms > 0)
    text += "; p99 " + ms(record.baseline->p99_ms) + " before, " + ms(record.worst_p99_ms) + " in the worst window";
  if (record.errors > 0) text += "; " + std::to_string(static_cast<std::uint64_t>(record.errors)) + " errors";
  return text;
}

}  // namespace outlast::lifecycle
