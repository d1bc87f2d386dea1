#include "server/task_runner.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "server/task_progress.h"

namespace outlast::server {
using namespace std::chrono_literals;
using lifecycle::DecommissionOrder;
using lifecycle::StallReason;
using placement::Step;

namespace {
constexpr Duration kTick = 500ms;
constexpr Duration kSoon = 5ms;  // what one change of many records says comes together
constexpr Duration kShortLook = 50ms;
constexpr Duration kTellAgain = 60s;
}  // namespace

TaskRunner::TaskRunner(Loop& loop, Ports ports, std::uint64_t seed)
    : loop_(loop), ports_(std::move(ports)), random_(seed) {}

TaskRunner::~TaskRunner() {
  if (timer_ != 0) loop_.cancel(timer_);
}

void TaskRunner::start() {
  schedule(kSoon);
}

void TaskRunner::nudge() {
  if (timer_ == 0 || !ports_.in_office()) return;
  const Instant soon = std::max(loop_.now() + kSoon, rest_until_);
  if (due_ > soon) schedule(soon - loop_.now());
}

void TaskRunner::schedule(Duration delay) {
  if (timer_ != 0) loop_.cancel(timer_);
  due_ = loop_.now() + delay;
  timer_ = loop_.after(delay, [this] {
    timer_ = 0;
    tick();
  });
}

void TaskRunner::tick() {
  const Instant began = loop_.now();
  read_tasks();
  if (std::ranges::any_of(running_, [](const auto& each) { return !each.second.paused(); })) {
    const placement::ClusterView view = ports_.view();
    std::set<RangeId> asked;
    for (auto& [id, running] : running_)
      if (!running.paused()) advance(running, view, asked);
  }
  // A look at very many ranges may be long: it takes a tenth of the loop at most, a short one half of it.
  const Duration took = loop_.now() - began;
  rest_until_ = loop_.now() + (took < kShortLook ? 1 : 9) * took;
  Instant next = loop_.now() + kTick;
  for (const auto& [id, running] : running_)
    if (const auto again = running.task.moves().ask_again; again && *again > began) next = std::min(next, *again);
  schedule(std::max(next, std::max(rest_until_, loop_.now())) - loop_.now());
}

/// The stored tasks are the truth: begun here, changed, or over.
void TaskRunner::read_tasks() {
  if (!ports_.in_office()) return running_.clear();
  const auto settings = ports_.settings();
  std::set<std::uint64_t> there;
  for (const meta::TaskMirror::EntryPtr& stored : ports_.tasks()) {
    const std::uint64_t id = stored->value.id;
    if (stored->value.kind != meta::kDecommissionTask || meta::is_over(stored->value.state)) continue;
    there.insert(id);
    const auto it = running_.find(id);
    if (it != running_.end()) it->second.task.set(settings.targets, settings.rate_max);
    if (it != running_.end() && it->second.stored->mod_revision == stored->mod_revision) continue;
    auto record = lifecycle::decode_decommission_record(stored->value.body);
    if (!record.ok()) {
      spdlog::error("task {}: {}", id, record.error().message);
    } else if (it == running_.end()) {
      tasks::DecommissionTask task(*std::move(record), {settings.targets, {}, settings.rate_max});
      running_.emplace(id, Running{stored, std::move(task)});
    } else {
      it->second.task.replace(*std::move(record));
      it->second.stored = stored;
    }
  }
  std::erase_if(running_, [&](const auto& each) { return !there.contains(each.first); });
}

std::vector<NodeId> TaskRunner::leaving_by_others(const Running& running) const {
  std::vector<NodeId> out;
  for (const auto& [id, other] : running_) {
    if (&other == &running || other.paused()) continue;
    for (const NodeId node : other.task.leaving()) out.push_back(node);
  }
  return out;
}

void TaskRunner::advance(Running& running, const placement::ClusterView& view, std::set<RangeId>& asked) {
  const Instant now = loop_.now();
  std::vector<lifecycle::LeavingNode> nodes;
  for (const auto& node : running.task.record().nodes) nodes.push_back(ports_.facts(node.node));
  const auto todo =
      running.task.advance(now, view, std::move(nodes), ports_.metadata(), random_, leaving_by_others(running));
  for (const Step& step : todo.steps) {
    if (asked.insert(step.range).second)
      take(running.stored->value.id, step);
    else
      running.task.answered(step, Error(Errc::kInvalidState, "another task takes a step of this range"), now);
  }
  for (const DecommissionOrder& order : todo.orders) carry_out(running, order);
  tell_stall(running);
}

void TaskRunner::take(std::uint64_t task, const Step& step) {
  ports_.take(step, [this, alive = std::weak_ptr(alive_), task, step](const Result<void>& result) {
    if (alive.expired()) return;
    if (!result.ok()) spdlog::debug("task {}, range {}: {}", task, step.range.value, result.error().message);
    if (const auto it = running_.find(task); it != running_.end()) it->second.task.answered(step, result, loop_.now());
    nudge();
  });
}

void TaskRunner::carry_out(Running& running, const DecommissionOrder& order) {
  const auto& nodes = running.task.nodes();
  const auto seen = std::ranges::find(nodes, order.node, &lifecycle::LeavingNode::node);
  if (seen == nodes.end()) return;
  ports_.order(
      running.stored, order, *seen,
      [this, alive = std::weak_ptr(alive_), task = running.stored->value.id, order](const Result<void>& result) {
        if (alive.expired()) return;
        const std::string what = std::string(to_string(order.kind)) + " node " + order.node.to_string();
        spdlog::info("task {}: {}: {}", task, what, result.ok() ? "done" : result.error().message);
        if (const auto it = running_.find(task); it != running_.end())
          it->second.task.answered(order, result, loop_.now());
        nudge();
      });
}

void TaskRunner::tell_stall(Running& running) {
  const lifecycle::Obstacle& stall = running.task.progress().stall;
  const Instant now = loop_.now();
  const bool again = stall.reason != StallReason::kNone && now - running.told_at >= kTellAgain;
  if (stall.reason == running.told && !again) return;
  running.told = stall.reason;
  running.told_at = now;
  ports_.report(running.stored->value.id, stall);
}

void TaskRunner::claim(placement::ClusterView& view) const {
  std::set<NodeId> nodes;
  for (const auto& [id, running] : running_)
    for (const auto& node : running.task.record().nodes)
      if (node.leave && !node.settled && !running.paused()) nodes.insert(node.node);
  if (nodes.empty()) return;
  for (placement::RangeView& range : view.ranges) {
    const auto leaves = [&](const placement::ReplicaRef& ref) { return nodes.contains(ref.node); };
    range.in_task = std::ranges::any_of(range.insync, leaves) || std::ranges::any_of(range.learners, leaves);
  }
}

bool TaskRunner::describe(std::uint64_t task, proto::TaskStatus& out) const {
  const auto it = running_.find(task);
  if (it == running_.end()) return false;
  add_progress(it->second.task, out);
  return true;
}

}  // namespace outlast::server
