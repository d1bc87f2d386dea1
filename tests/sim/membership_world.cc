#include "tests/sim/membership_world.h"

#include <algorithm>

#include "placement/replication_factor.h"

namespace outlast::sim {
using placement::Membership;
using placement::NodeView;
using placement::RangeConfig;

namespace {
constexpr std::uint64_t kMiB = 1ULL << 20U;
Error refused(std::string why) {
  return {Errc::kInvalidState, std::move(why)};
}
}  // namespace

MembershipWorld::Stored* MembershipWorld::Range::on(NodeId node) {
  const auto it = std::ranges::find(stored, node, &Stored::node);
  return it == stored.end() ? nullptr : &*it;
}

MembershipWorld::MembershipWorld(Random& random, std::uint32_t count, std::uint32_t range_count,
                                 MembershipWorldBugs bugs)
    : random_(random), bugs_(bugs) {
  const std::uint64_t zones = random.below(3) == 0 ? 0 : 1 + random.below(std::min<std::uint64_t>(count, 5));
  for (std::uint32_t i = 0; i < count; ++i) {
    placement::Locality where;
    if (zones > 0) where.tiers = {{"zone", std::string(1, static_cast<char>('a' + i % zones))}};
    add_node(0, where);
    nodes.back().view.frontend = i < 2 || random.below(2) == 0;
    nodes.back().view.inputs = random.below(3) == 0 ? 1 : 0;
    nodes.back().tasks = random.below(2), nodes.back().buffers = random.below(3);
  }
  for (std::uint32_t i = 0; i < range_count; ++i) {
    const int rf = std::min<int>(static_cast<int>(count), random.below(5) == 0 ? 5 : random.below(9) == 0 ? 1 : 3);
    const std::uint64_t bytes = (1 + random.below(64)) * kMiB;
    std::vector<std::size_t> on;
    while (on.size() < static_cast<std::size_t>(rf == 4 ? 3 : rf)) {
      const std::size_t at = random.below(count);
      if (std::ranges::find(on, at) == on.end()) on.push_back(at);
    }
    const NodeView& first = nodes[on[0]].view;
    RangeConfig config =
        placement::create_range(RangeId(i + 1), DatabaseId(i + 1), first.id, first.store_uuid, Incarnation(1));
    for (std::size_t n = 1; n < on.size(); ++n) {
      const NodeView& node = nodes[on[n]].view;
      config = placement::add_learner(config, node.id, node.store_uuid).value();
      config = placement::promote_learner(config, node.id, node.store_uuid, static_cast<int>(on.size())).value();
    }
    Range range{{config, bytes}, {}, 0};
    range.view.replication_factor = config.rf;
    for (const std::size_t at : on) range.stored.push_back({nodes[at].view.id, bytes}), nodes[at].stored += bytes;
    ranges.push_back(std::move(range));
  }
  // Disks from tight to wide, so that a plan may have no solution.
  const std::uint64_t width = random.below(8), least = (8ULL << random.below(6)) * kMiB;
  for (Node& node : nodes) node.view.disk.capacity_bytes = node.stored * (10 + width + random.below(10)) / 10 + least;
}

void MembershipWorld::add_node(std::uint64_t free_bytes, const placement::Locality& where) {
  Node node;
  node.view.id = NodeId(static_cast<std::uint32_t>(nodes.size()) + 1);
  node.view.store_uuid = "s" + node.view.id.to_string();
  node.view.locality = where;
  node.view.inputs = 1;
  node.rate = (4 + random_.below(60)) * kMiB;
  node.view.disk.capacity_bytes = free_bytes * 100 / 95 + kMiB;
  nodes.push_back(std::move(node));
}

MembershipWorld::Node* MembershipWorld::find(NodeId id) {
  return id.value == 0 || id.value > nodes.size() ? nullptr : &nodes[id.value - 1];
}

placement::ClusterView MembershipWorld::view() const {
  placement::ClusterView out;
  out.nodes.reserve(nodes.size());
  for (const Node& node : nodes) {
    out.nodes.push_back(node.view);
    placement::Disk& disk = out.nodes.back().disk;
    disk.used_bytes = node.stored;
    disk.available_bytes = node.disk_full ? 0 : disk.capacity_bytes - std::min(disk.capacity_bytes, node.stored);
  }
  out.ranges.reserve(ranges.size());
  for (const Range& range : ranges) {
    out.ranges.push_back(range.view);
    for (const auto& learner : range.view.learners)
      for (const Stored& each : range.stored)
        if (each.node == learner.node) out.ranges.back().received.push_back({each.node, each.bytes});
  }
  return out;
}

lifecycle::LeavingNode MembershipWorld::facts(NodeId id) {
  const Node& node = *find(id);
  lifecycle::LeavingNode out;
  out.node = id;
  out.fenced = node.fenced();
  out.tasks = node.tasks, out.buffers = node.buffers;
  out.draining = node.view.draining, out.drained = node.drained;
  out.drain_blocker = "transactions";
  return out;
}

std::uint64_t MembershipWorld::replicas_on(NodeId id) const {
  const bool dead = nodes[id.value - 1].view.health == NodeView::Health::kDead;
  std::uint64_t count = 0;
  for (const Range& range : ranges) {
    if (range.view.find(id) != nullptr) ++count;
    if (dead || bugs_.deletion_not_awaited) continue;
    for (const auto& ref : range.view.removed) count += ref.node == id ? 1 : 0;
  }
  return count;
}

void MembershipWorld::crash(Node& node, int back_in) {
  node.up = false, node.back_in = back_in, ++faults;
  node.view.draining = node.drained = false;  // a drain belongs to one incarnation
}
void MembershipWorld::cut(Node& node, int back_in) {
  node.cut = true, node.back_in = back_in, ++faults;
}
void MembershipWorld::heal() {
  for (Node& node : nodes) {
    node.disk_full = false, node.drain_stuck = std::min(node.drain_stuck, 4);
    node.rate = std::max(node.rate, 8 * kMiB);
    if (node.view.membership == Membership::kActive) node.view.draining = node.drained = false;
    if (!node.reachable() && !node.gone) node.back_in = 1;
  }
}

void MembershipWorld::tick() {
  for (Node& node : nodes) tick_node(node);
  for (Range& range : ranges) tick_range(range);
}

void MembershipWorld::tick_node(Node& node) {
  if (!node.reachable() && !node.gone && node.back_in > 0 && --node.back_in == 0) {
    // Whoever was silent for the observer time is fenced and comes back as another incarnation.
    if (node.fenced()) node.view.draining = node.drained = false;
    node.up = true, node.cut = false;
  }
  node.silent_ticks = node.reachable() ? 0 : node.silent_ticks + 1;
  node.view.health = node.silent_ticks == 0              ? NodeView::Health::kLive
                     : node.silent_ticks >= kSilentTicks ? NodeView::Health::kDead
                                                         : NodeView::Health::kSuspect;
  if (node.view.health == NodeView::Health::kDead) node.tasks = 0;  // taken over
  if (!node.up || node.view.membership == Membership::kDecommissioned) return;
  if (!node.view.draining) {
    if (node.tasks == 0 && random_.below(50) == 0) node.tasks = 1;
    if (node.view.inputs > 0 && random_.below(20) == 0) node.buffers = 1 + random_.below(3);
    return;
  }
  if (node.drain_stuck > 0) --node.drain_stuck;
  if (node.drain_stuck == 0 && node.reachable()) {
    node.tasks -= std::min<std::uint64_t>(node.tasks, 1);
    if (random_.below(3) == 0) node.buffers -= std::min<std::uint64_t>(node.buffers, 1);
    node.drained = true;  // its clients are gone; what its buffers hold is said apart
  }
}

void MembershipWorld::put(Range& range, RangeConfig next) {
  const RangeConfig before = range.view;
  static_cast<RangeConfig&>(range.view) = std::move(next);
  check(range, before);
}

/// What must hold after every change of a record.
void MembershipWorld::check(const Range& range, const RangeConfig& before) {
  const RangeConfig& now = range.view;
  const std::string name = "range " + now.range.to_string() + ": ";
  if (static_cast<int>(now.insync.size()) < now.min_insync) fail(name + "S is below min_insync");
  if (now.rf < std::min(before.rf, 3)) fail(name + "the replication factor fell below three");
  if (now.leaseholder && now.find_insync(now.leaseholder->node) == nullptr) fail(name + "its leader is not in sync");
  std::vector<NodeId> seen;
  for (const auto* refs : {&now.insync, &now.learners})
    for (const auto& ref : *refs) {
      if (std::ranges::find(seen, ref.node) != seen.end()) fail(name + "two replicas on one node");
      seen.push_back(ref.node);
      const Node& node = nodes[ref.node.value - 1];
      if (node.view.membership == Membership::kDecommissioned) fail(name + "a replica on a decommissioned node");
    }
  for (const auto& ref : now.insync) {
    const auto it = std::ranges::find(range.stored, ref.node, &Stored::node);
    if (it == range.stored.end() || it->bytes < range.view.bytes) fail(name + "a member of S lacks data");
  }
}

void MembershipWorld::drop_stored(Range& range, NodeId node) {
  Stored* each = range.on(node);
  if (each == nullptr) return;
  find(node)->stored -= each->bytes;
  std::erase_if(range.stored, [&](const Stored& one) { return one.node == node; });
}

void MembershipWorld::copy(Range& range) {
  for (const auto& ref : std::vector(range.view.learners)) {
    Node& node = *find(ref.node);
    if (!node.reachable()) continue;
    Stored* data = range.on(ref.node);
    if (data == nullptr) range.stored.push_back({ref.node, 0}), data = &range.stored.back();
    data->deletes_in = -1;
    std::uint64_t take = std::min(range.view.bytes - data->bytes, node.rate);
    if (node.disk_full || node.stored + take > node.view.disk.capacity_bytes) take = 0;
    data->bytes += take, node.stored += take;
    if (data->bytes < range.view.bytes) continue;
    if (auto next = placement::promote_learner(range.view, ref.node, ref.store_uuid, range.view.rf); next.ok())
      put(range, *std::move(next));
  }
}

void MembershipWorld::tick_range(Range& range) {
  if (range.view.removed.empty() && range.view.learners.empty() && faults == 0) return;
  const Node* holder = range.view.leaseholder ? find(range.view.leaseholder->node) : nullptr;
  if (holder == nullptr || !holder->reachable()) {
    if (++range.leaderless < kFenceTicks) return;
    for (const auto& ref : range.view.insync) {
      const Node& node = *find(ref.node);
      if (!node.reachable() || (holder != nullptr && !holder->fenced())) continue;
      put(range, placement::take_over(range.view, ref.node, Incarnation(1)).value());
      break;
    }
    return;
  }
  range.leaderless = 0;
  for (const auto& ref : std::vector(range.view.insync))
    if (find(ref.node)->silent_ticks > kFenceTicks)
      if (auto next = placement::remove_backup(range.view, ref.node); next.ok()) put(range, *std::move(next));
  if (!range.view.learners.empty()) copy(range);
  for (const auto& ref : std::vector(range.view.removed)) {
    if (!find(ref.node)->reachable()) continue;
    Stored* data = range.on(ref.node);
    if (data != nullptr && range.view.find(ref.node) == nullptr) {
      if (data->deletes_in < 0) data->deletes_in = static_cast<int>(random_.below(8));
      if (data->deletes_in-- > 0) continue;
      drop_stored(range, ref.node);
    }
    put(range, placement::forget_removed(range.view, ref.replica).value());
  }
}

Result<void> MembershipWorld::take(const placement::Step& step) {
  using Kind = placement::Step::Kind;
  Range& range = ranges.at(step.range.value - 1);
  const Node* holder = range.view.leaseholder ? find(range.view.leaseholder->node) : nullptr;
  if (holder == nullptr || !holder->reachable()) return Error(Errc::kUnavailable, "the leaseholder does not answer");
  const NodeView& node = find(step.node)->view;
  const bool able = find(step.node)->reachable() && node.membership == Membership::kActive && !node.draining;
  Result<RangeConfig> next = refused("");
  if (step.kind == Kind::kAddReplica) {
    if (!able) return refused("the node takes no replicas");
    next = placement::add_learner(range.view, step.node, node.store_uuid);
  } else if (step.kind == Kind::kTransferLease) {
    if (!able) return refused("the node takes no leases");
    next = placement::transfer_lease(range.view, step.node, Incarnation(1));
  } else if (step.kind == Kind::kReduceReplication) {
    next = placement::reduce_replication(range.view, step.node, step.rf);
  } else if (range.view.find_learner(step.node) != nullptr) {
    next = placement::remove_learner(range.view, step.node);
  } else {
    ASSIGN_OR_RETURN(const RangeConfig backup, placement::remove_backup(range.view, step.node));
    next = placement::remove_learner(backup, step.node);
  }
  if (!next.ok()) return std::move(next).error();
  put(range, *std::move(next));
  return {};
}

}  // namespace outlast::sim
