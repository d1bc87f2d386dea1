#include "tests/sim/membership.h"

#include <algorithm>
#include <cstdio>

#include "placement/preflight.h"

namespace outlast::sim {
using lifecycle::DecommissionOrder;
using placement::Membership;
using placement::NodeView;
using Kind = placement::Step::Kind;

namespace {
constexpr std::size_t kRetries = 3;
}  // namespace

MembershipHistory::MembershipHistory(std::uint64_t seed, const MembershipBugs& bugs, bool trace)
    : random_(seed), bugs_(bugs), trace_(trace) {
  large_ = seed % 250 == 0;
  draw_sizes();
  world_ = std::make_unique<MembershipWorld>(random_, nodes_, ranges_, bugs.world);
  settings_.targets.selector = random_.below(2) == 0 ? placement::Selector::kGood : placement::Selector::kBest;
  settings_.targets.per_target = 1 + random_.below(8);
  settings_.limits.at_once = 1 + random_.below(large_ ? 128 : 32);
}

void MembershipHistory::draw_sizes() {
  nodes_ = 4 + static_cast<std::uint32_t>(random_.below(9));
  ranges_ = 5 + static_cast<std::uint32_t>(random_.below(50));
  trouble_ticks_ = 60 + static_cast<int>(random_.below(160));
  if (random_.below(8) == 0) nodes_ *= 4, ranges_ *= 6;
  if (large_) nodes_ = 1000, ranges_ = 50'000, trouble_ticks_ = 30;
}

MembershipOutcome MembershipHistory::run() {
  begin_task();
  change_leader();
  while (now_ticks_ < trouble_ticks_ && world_->violation.empty()) tick(true);
  if (world_->violation.empty()) end();
  outcome_.violation = world_->violation;
  for (const auto& node : world_->nodes)
    outcome_.decommissioned += node.view.membership == Membership::kDecommissioned ? 1 : 0;
  return outcome_;
}

void MembershipHistory::begin_task() {
  lifecycle::DecommissionRecord record;
  record.task = 1;
  record.requested_by = NodeId(1);
  const std::uint64_t count = 1 + random_.below(std::max<std::uint64_t>(1, std::min<std::uint64_t>(nodes_ / 3, 6)));
  while (record.nodes.size() < count) {
    const NodeId id(1 + static_cast<std::uint32_t>(random_.below(nodes_)));
    if (record.find(id) == nullptr) record.nodes.push_back({.node = id});
  }
  if (auto begun = world_->begin(record); !begun.ok()) fail("the task did not begin: " + begun.error().message);
}

void MembershipHistory::tick(bool trouble) {
  ++now_ticks_;
  if (trouble) strike(), operators();
  world_->tick();
  std::vector<Pending> due;
  std::erase_if(pending_, [&](Pending& each) {
    if (each.due > now_ticks_) return false;
    due.push_back(std::move(each));
    return true;
  });
  for (Pending& each : due) each.happens();
  for (std::size_t i = 0; i < leaders_.size();) {
    if (leaders_[i]->deposed == 0) {
      leaders_.erase(leaders_.begin() + static_cast<std::ptrdiff_t>(i));
      continue;
    }
    if (leaders_[i]->deposed > 0) --leaders_[i]->deposed;
    lead(*leaders_[i++]);
  }
  note(world_->task().version);
}

void MembershipHistory::strike() {
  if (random_.below(large_ ? 6 : 12) != 0) return;
  switch (random_.below(9)) {
    case 0:
    case 1:
      return change_leader();
    case 3: {  // an operator drains a node, and undrains it
      auto& node = world_->nodes[random_.below(world_->nodes.size())];
      if (node.view.membership == Membership::kActive && node.reachable()) node.view.draining = !node.view.draining;
      return;
    }
    case 2:
      if (!leaders_.empty()) leaders_.back()->deaf = 1 + static_cast<int>(random_.below(24));
      return;
    default:
      return strike_node();
  }
}

void MembershipHistory::strike_node() {
  const auto record = world_->task();
  const std::uint64_t at = random_.below(2) == 0 ? record.nodes[random_.below(record.nodes.size())].node.value - 1
                                                 : random_.below(world_->nodes.size());
  MembershipWorld::Node& node = world_->nodes[at];
  if (!node.reachable() || node.gone) return;
  const auto silent = std::ranges::count_if(world_->nodes, [](const auto& each) { return !each.reachable(); });
  const bool may_vanish = silent < std::max<std::ptrdiff_t>(1, static_cast<std::ptrdiff_t>(world_->nodes.size()) / 4);
  const int back = 1 + static_cast<int>(random_.below(random_.below(3) == 0 ? 70 : 12));
  switch (random_.below(6)) {
    case 0:
      if (may_vanish) world_->crash(node, back);
      return;
    case 1:
      if (may_vanish) world_->cut(node, back);
      return;
    case 2:
      if (silent == 0 && nodes_ > 5 && random_.below(4) == 0) world_->crash(node, 0), node.gone = true;
      return;
    case 3:
      node.rate = random_.below(2) == 0 ? 0 : node.rate / 8 + 1;
      return;
    case 4:
      node.disk_full = !node.disk_full;
      return;
    default:
      node.drain_stuck = static_cast<int>(random_.below(60));
      return;
  }
}

/// Another node is elected; the old one may go on for a while, and does not know.
void MembershipHistory::change_leader() {
  if (!leaders_.empty()) {
    leaders_.back()->deposed = static_cast<int>(random_.below(16));
    ++world_->office;
  }
  auto next = std::make_unique<Leader>();
  next->office = world_->office;
  next->record_text = world_->task_text;
  next->task = std::make_unique<tasks::DecommissionTask>(world_->task(), settings_, bugs_.task);
  leaders_.push_back(std::move(next));
  ++outcome_.leaders;
}

/// Two of them, who do not talk to each other.
void MembershipHistory::operators() {
  if (random_.below(40) != 0) return;
  const auto record = world_->task();
  std::vector<NodeId> which{record.nodes[random_.below(record.nodes.size())].node};
  const bool leave = random_.below(3) != 0;
  const int times = random_.below(10) == 0 ? 9 : 1;  // flipped nine times
  for (int i = 0; i < times; ++i) {
    const bool wanted = (i % 2 == 0) == leave;
    if (world_->wish(which, wanted).ok() && !wanted) ++outcome_.recommissioned;
    if (!bugs_.world.wish_not_recorded || wanted || leaders_.empty()) continue;
    auto told = ask_to_stay(leaders_.back()->task->record(), which);
    if (told.ok()) leaders_.back()->task->replace(*std::move(told));
  }
}

/// Fresh or late, and not at all while it is deaf.
void MembershipHistory::look(Leader& leader) {
  if (leader.deaf > 0) {
    --leader.deaf, ++leader.view_age;
    return;
  }
  const int every = large_ ? 6 : 1 + static_cast<int>(random_.below(4));
  if (leader.view != nullptr && ++leader.view_age < every) return;
  leader.view_age = 0;
  leader.view = std::make_shared<const placement::ClusterView>(world_->view());
  if (leader.record_text != world_->task_text && leader.deposed < 0) {
    leader.record_text = world_->task_text;
    leader.task->replace(world_->task());
  }
  leader.facts.clear();
  for (const auto& node : leader.task->record().nodes) leader.facts.push_back(world_->facts(node.node));
}

void MembershipHistory::lead(Leader& leader) {
  look(leader);
  if (leader.view == nullptr) return;
  const auto todo = leader.task->advance(now(), *leader.view, leader.facts, leader.deaf == 0, random_);
  for (const Step& step : todo.steps) {
    check_step(leader, step);
    send(leader, step);
  }
  for (const DecommissionOrder& order : todo.orders) send(leader, order);
  if (leader.deposed < 0) check_progress(leader);
  if (leader.view_age == 0 && random_.below(large_ ? 1 : 3) == 0) repair(leader);
}

/// The placement of the whole cluster goes on beside the task: ranges that lack or lost a replica.
void MembershipHistory::repair(Leader& leader) {
  placement::ClusterView view;
  for (const auto& range : leader.view->ranges) {
    const bool whole = static_cast<int>(range.insync.size()) == range.rf && range.learners.empty();
    const bool concerned = std::ranges::any_of(leader.task->record().nodes, [&](const auto& node) {
      return !node.settled && range.find(node.node) != nullptr;
    });
    const bool all_there = std::ranges::all_of(range.insync, [&](const auto& ref) {
      return leader.view->nodes[ref.node.value - 1].health == NodeView::Health::kLive;
    });
    if ((!whole || !all_there) && !concerned) view.ranges.push_back(range);
  }
  if (view.ranges.empty()) return;
  view.nodes = leader.view->nodes;
  view.replication_factor = 1;
  for (const Step& step : placement::plan(view))
    later(static_cast<int>(random_.below(3)), [this, step] { (void)world_->take(step).ok(); });
}

void MembershipHistory::send(Leader& leader, const DecommissionOrder& order) {
  ++outcome_.orders;
  note(static_cast<std::uint64_t>(order.kind) * 31 + order.node.value);
  if (trace_)
    std::printf("%7.1f s office %llu: %s n%u\n", now_ticks_ / 2.0, static_cast<unsigned long long>(leader.office),
                std::string(to_string(order.kind)).c_str(), order.node.value);
  if (random_.below(20) == 0) return;  // lost
  later(static_cast<int>(random_.below(4)),
        [this, order, office = leader.office, version = leader.task->record().version] {
          const auto result = world_->order(order, office, version);
          if (random_.below(20) == 0) return;  // its answer is lost
          for (auto& each : leaders_)
            if (each->office == office) each->task->answered(order, result, now());
        });
}

void MembershipHistory::send(Leader& leader, const Step& step) {
  ++outcome_.steps;
  note(step.range.value * 131 + step.node.value * 7 + static_cast<std::uint64_t>(step.kind));
  if (trace_)
    std::printf("%7.1f s office %llu: step %d r%llu n%u\n", now_ticks_ / 2.0,
                static_cast<unsigned long long>(leader.office), static_cast<int>(step.kind),
                static_cast<unsigned long long>(step.range.value), step.node.value);
  if (step.kind == Kind::kAddReplica) leader.adds.push_back(step);
  if (random_.below(20) == 0) return;
  later(static_cast<int>(random_.below(3)), [this, step, office = leader.office] {
    const auto result = world_->take(step);
    if (random_.below(20) == 0) return;
    for (auto& each : leaders_) {
      if (each->office != office) continue;
      each->task->answered(step, result, now());
      if (!result.ok()) std::erase(each->adds, step);
    }
  });
}

/// Until the task is over, and whatever repair goes on beside it; or until nothing has moved for long.
bool MembershipHistory::settle() {
  constexpr int kAfter = 150, kStandstill = 120, kLongest = 20'000;
  int over_for = 0;
  leaders_.back()->seen.clear();
  for (int i = 0; i < kLongest && over_for < kAfter && world_->violation.empty(); ++i) {
    tick(false);
    over_for = world_->task().over() ? over_for + 1 : 0;
    if (over_for == 0 && leaders_.back()->seen_ticks > kStandstill) break;
  }
  return world_->task().over();
}

/// Everything heals; the task ends, or it is blocked, says so, and ends after the fix.
void MembershipHistory::end() {
  world_->heal();
  for (auto& leader : leaders_) leader->deaf = 0;
  const int healed = now_ticks_;
  bool over = settle();
  for (std::size_t i = 0; !over && world_->violation.empty() && i < kRetries; ++i) {
    if (!fix()) break;
    ++outcome_.fixes;
    over = settle();
  }
  outcome_.settled_ms = (now_ticks_ - healed) * 500.0;
  if (!world_->violation.empty()) return;
  if (over) return check_end();
  const auto& stall = leaders_.back()->task->progress().stall;
  using Reason = lifecycle::StallReason;
  if (stall.reason == Reason::kLastFrontend || stall.reason == Reason::kLastInput) return;
  // A range whose only copy lies on a node that never comes back is led by nobody.
  const bool gone = std::ranges::any_of(world_->nodes, [](const auto& node) { return node.gone; });
  if (gone && (stall.reason == Reason::kUnavailable || stall.reason == Reason::kDeletion)) return;
  fail("the task does not end: " + std::string(to_string(stall.reason)) + ", " + stall.why);
}

/// Does what the pre-flight says; false when it finds nothing that blocks.
bool MembershipHistory::fix() {
  std::vector<NodeId> leaving;
  for (const auto& node : world_->task().nodes)
    if (node.leave && !node.settled) leaving.push_back(node.node);
  if (leaving.empty()) return false;
  const auto found = preflight(world_->view(), leaving, placement::Checks::kEnabled, settings_.targets, random_);
  if (!found.ok()) return false;
  const placement::Remedy& remedy = found->plan.fix;
  if (trace_) std::printf("%7.1f s fix: %s\n", now_ticks_ / 2.0, to_string(remedy).c_str());
  if (remedy.empty()) return false;
  for (const NodeId id : remedy.undrain) world_->find(id)->view.draining = world_->find(id)->drained = false;
  if (!remedy.undrain.empty()) return true;
  for (int i = 0; i < remedy.add_nodes; ++i) world_->add_node(remedy.add_bytes, remedy.add_where);
  return true;
}

}  // namespace outlast::sim
