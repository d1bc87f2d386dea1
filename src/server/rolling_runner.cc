#include "server/rolling_runner.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "tasks/rolling_choice.h"

namespace outlast::server {
using namespace std::chrono_literals;
using lifecycle::RollingMachine;
using lifecycle::RollingOrder;
using liveness::Peer;
using End = RollingMachine::Todo::End;

namespace {
constexpr Duration kTick = 500ms, kIdle = 5s, kSoon = 50ms;

/// One line for operators.
void tell(std::uint64_t task, NodeId self, const char* event, const std::string& text) {
  spdlog::info("{}", boost::json::serialize(boost::json::object{
                         {"channel", "OPS"}, {"event", event}, {"node", self.value}, {"task", task}, {"text", text}}));
}

meta::TaskState state_after(End end, meta::TaskState now) {
  if (end == End::kPause) return meta::TaskState::kPaused;
  if (end == End::kCompleted) return meta::TaskState::kCompleted;
  return end == End::kAborted ? meta::TaskState::kCancelled : now;
}
}  // namespace

RollingRunner::RollingRunner(Loop& loop, Ports ports) : loop_(loop), ports_(std::move(ports)) {}

RollingRunner::~RollingRunner() {
  if (timer_ != 0) loop_.cancel(timer_);
}

void RollingRunner::start() {
  schedule(kSoon);
}
void RollingRunner::nudge() {
  if (running_ || ports_.in_office()) schedule(kSoon);
}

void RollingRunner::schedule(Duration delay) {
  const Instant due = loop_.now() + delay;
  if (timer_ != 0 && due_ <= due) return;
  if (timer_ != 0) loop_.cancel(timer_);
  due_ = due;
  timer_ = loop_.after(delay, [this] {
    timer_ = 0;
    tick();
  });
}

std::string RollingRunner::by() const {
  return "rolling restart, task " + std::to_string(running_->stored->value.id);
}

/// The task that is under way, as it is stored now. False: nothing is to be done at present.
bool RollingRunner::read_task() {
  meta::TaskMirror::EntryPtr found;
  if (ports_.in_office())
    for (const auto& entry : ports_.tasks())
      if (entry->value.kind == meta::kRollingRestartTask && !is_over(entry->value.state)) found = entry;
  if (!found || (running_ && running_->stored->value.id != found->value.id)) {
    running_.reset();
    counted_.clear();
  }
  if (!found) return false;
  auto record = lifecycle::decode_rolling_record(found->value.body);
  if (!record.ok()) {
    spdlog::error("task {}: {}", found->value.id, record.error().message);
    return false;
  }
  if (!running_) {
    running_.emplace(Running{.stored = found, .machine = RollingMachine(*record), .asked = {}});
    return true;
  }
  if (running_->storing || record->version < running_->version) return false;
  running_->stored = found;
  running_->machine.replace(*std::move(record));
  return true;
}

void RollingRunner::tick() {
  const bool ready = read_task();
  schedule(running_ ? kTick : kIdle);
  if (!running_) return;
  const placement::ClusterView view = ports_.view();
  count_statements(view);
  ask_nodes();
  if (!ready) return;
  const RollingMachine::Todo todo = running_->machine.advance(loop_.now(), look(view));
  for (const RollingOrder& order : todo.orders) carry_out(order);
  if (todo.write || todo.end != End::kNone) store(todo);
}

lifecycle::RollingNode RollingRunner::look_at(NodeId id, const placement::ClusterView& view) const {
  lifecycle::RollingNode out{.node = id, .member = false, .leader = id == ports_.self};
  if (const auto node = std::ranges::find(view.nodes, id, &placement::NodeView::id); node != view.nodes.end()) {
    out.member = node->membership == placement::Membership::kActive;
    out.draining = node->draining;
  }
  out.expected_until_micros = ports_.maintenance_until(id);
  if (const auto live = ports_.live(id)) out.live = true, out.incarnation = *live;
  const auto asked = running_->asked.find(id);
  if (asked == running_->asked.end() || asked->second.incarnation != out.incarnation) return out;
  out.drained = out.draining && asked->second.drained;
  out.blocker = asked->second.blocker;
  out.receipt = asked->second.receipt;
  return out;
}

lifecycle::RollingView RollingRunner::look(const placement::ClusterView& view) const {
  lifecycle::RollingView out;
  out.metadata = ports_.metadata();
  out.paused = running_->stored->value.state == meta::TaskState::kPaused;
  out.wall_micros = loop_.wall_micros();
  out.statements = total_;
  for (const auto& node : view.nodes) out.live_nodes += node.health == placement::NodeView::Health::kLive ? 1 : 0;
  std::map<NodeId, lifecycle::RollingNode*> at;
  for (const auto& node : running_->machine.record().nodes) out.nodes.push_back(look_at(node.node, view));
  for (lifecycle::RollingNode& node : out.nodes) at[node.node] = &node;
  const auto count = [&at](NodeId node, std::uint64_t lifecycle::RollingNode::* what) {
    if (const auto it = at.find(node); it != at.end()) ++(it->second->*what);
  };
  for (const placement::RangeView& range : view.ranges) {
    if (range.leaseholder) ++out.leases, count(range.leaseholder->node, &lifecycle::RollingNode::leases);
    for (const auto& member : range.insync) count(member.node, &lifecycle::RollingNode::insync);
    for (const auto& learner : range.learners) count(learner.node, &lifecycle::RollingNode::learners);
  }
  out.choose = [&view](std::vector<NodeId> candidates, std::vector<NodeId> absent, std::size_t max) {
    return tasks::choose_to_restart(view, std::move(candidates), std::move(absent), max);
  };
  return out;
}

void RollingRunner::store(const RollingMachine::Todo& todo) {
  Running& running = *running_;
  meta::TaskRecord next = running.stored->value;
  const lifecycle::RollingRecord& record = todo.write ? *todo.write : running.machine.record();
  next.body = encode(record);
  next.state = state_after(todo.end, next.state);
  if (is_over(next.state)) {
    next.ended_micros = loop_.wall_micros();
    next.outcome = RollingMachine::outcome(record);
  }
  running.storing = true;
  const auto done = [this, alive = std::weak_ptr(alive_), id = next.id, end = todo.end, version = record.version,
                     why = record.paused_why, outcome = next.outcome](const Result<void>& stored) {
    if (alive.expired() || !running_ || running_->stored->value.id != id) return;
    running_->storing = false;
    if (!stored.ok()) return schedule(kTick);  // somebody else wrote: the mirror will show what
    running_->version = version;
    if (end == End::kPause) tell(id, ports_.self, "rolling restart paused", why);
    if (end == End::kCompleted || end == End::kAborted) tell(id, ports_.self, "rolling restart ended", outcome);
    schedule(kSoon);
  };
  ports_.store(running.stored, std::move(next), done);
}

void RollingRunner::carry_out(const RollingOrder& order) {
  if (order.kind == RollingOrder::Kind::kRestart) return begin_restart(order);
  const auto told = [this, alive = std::weak_ptr(alive_), order](const auto& result) {
    if (!alive.expired()) answered(order, result.ok() ? Result<std::uint64_t>(0) : result.error());
  };
  if (order.kind == RollingOrder::Kind::kExpect) {
    const auto away = std::chrono::duration_cast<std::chrono::microseconds>(RollingMachine::kAway).count();
    return ports_.begin_maintenance(order.node, loop_.wall_micros() + away, by(), told);
  }
  proto::DrainRequest request;
  request.set_action(order.kind == RollingOrder::Kind::kDrain ? proto::DrainRequest::DRAIN
                                                              : proto::DrainRequest::UNDRAIN);
  request.set_by(by());
  ports_.drain({order.node, order.incarnation}, request, told);
}

/// A restart of the node that goes on, whoever asked for it, is the one that is wanted: another leader frontend may
/// have asked, or our own question's answer was lost.
void RollingRunner::begin_restart(const RollingOrder& order) {
  const Peer peer{order.node, order.incarnation};
  proto::RestartRequest request;
  request.set_by(by());
  request.set_look(true);
  const auto accepted = [this, alive = std::weak_ptr(alive_), order](const Result<RestartStatus>& status) {
    if (!alive.expired()) answered(order, status.ok() ? Result<std::uint64_t>(status->accepted_id()) : status.error());
  };
  ports_.restart(peer, request,
                 [this, alive = std::weak_ptr(alive_), peer, request, accepted](const auto& now) mutable {
                   if (alive.expired()) return;
                   if (!now.ok() || now->running()) return accepted(now);
                   request.set_look(false);
                   ports_.restart(peer, request, accepted);
                 });
}

void RollingRunner::answered(const RollingOrder& order, const Result<std::uint64_t>& result) {
  if (!running_) return;
  running_->machine.answered(order, result, loop_.now());
  schedule(kSoon);
}

bool RollingRunner::describe(std::uint64_t task, proto::TaskStatus& out) const {
  if (!running_ || running_->stored->value.id != task) return false;
  const RollingMachine& machine = running_->machine;
  out.set_has_progress(true);
  out.set_stage(std::string(to_string(machine.stage())));
  boost::json::object detail = boost::json::parse(encode(machine.record())).as_object();
  detail["stage"] = out.stage();
  detail["waiting"] = machine.waiting();
  out.set_detail(boost::json::serialize(detail));
  return true;
}

}  // namespace outlast::server
