// MembershipWorld: the metadata store, as far as a decommission writes there.
#include <algorithm>

#include "tests/sim/membership_world.h"

namespace outlast::sim {
using lifecycle::DecommissionOrder;
using placement::Membership;
using placement::NodeView;

namespace {
Error refused(std::string why) {
  return {Errc::kInvalidState, std::move(why)};
}
}  // namespace

lifecycle::DecommissionRecord MembershipWorld::task() const {
  return lifecycle::decode_decommission_record(task_text).value();
}

Result<void> MembershipWorld::begin(lifecycle::DecommissionRecord record) {
  if (!task_text.empty() && !task().over()) return refused("another task is under way");
  for (auto& node : record.nodes) {
    if (find(node.node)->view.membership != Membership::kActive) return refused("a node is not active");
    node.replicas_at_start = replicas_on(node.node), node.bytes_at_start = find(node.node)->stored;
    told[node.node] = true;
  }
  task_text = encode(record);
  return {};
}

Result<void> MembershipWorld::wish(std::span<const NodeId> which, bool leave) {
  for (const NodeId id : which)  // compared in the same transaction
    if (!leave && find(id)->view.membership == Membership::kDecommissioned) return refused("decommissioned for good");
  const auto now = task();
  ASSIGN_OR_RETURN(const auto next, leave ? ask_to_leave(now, which) : ask_to_stay(now, which));
  for (const NodeId id : which) told[id] = leave;
  if (!bugs_.wish_not_recorded || leave) task_text = encode(next);
  return {};
}

Result<void> MembershipWorld::finish(Node& node) {
  const std::string name = "node " + node.view.id.to_string() + ": ";
  if (node.view.membership != Membership::kDecommissioning) return refused("its membership changed");
  if (replicas_on(node.view.id) > 0) return refused("it holds replicas");
  // Its drain is bound to its incarnation; without one every incarnation must be fenced.
  if (!node.drained && !node.fenced()) return refused("it is neither drained nor fenced");
  node.view.membership = Membership::kDecommissioned;
  // Design §6.5 and §6.7, by what is true at this instant.
  if (!told[node.view.id]) fail(name + "decommissioned after an operator was told that it stays");
  const bool dead = node.view.health == NodeView::Health::kDead;
  if (!dead && !node.drained) fail(name + "decommissioned in absentia while it is not dead");
  if (!dead && node.buffers > 0) fail(name + "decommissioned with records in its buffers");
  if (!dead && node.tasks > 0) fail(name + "decommissioned while it owns tasks");
  for (const Range& range : ranges) {
    if (range.view.leaseholder && range.view.leaseholder->node == node.view.id)
      fail(name + "decommissioned with leases");
    if (range.view.find(node.view.id) != nullptr) fail(name + "decommissioned with replicas");
    const auto it = std::ranges::find(range.stored, node.view.id, &Stored::node);
    if (!dead && it != range.stored.end()) fail(name + "decommissioned with the data of a replica");
  }
  const auto stays = [&](auto has) {
    return std::ranges::any_of(nodes, [&](const Node& each) { return each.view.counts() && has(each.view); });
  };
  if (node.view.frontend && !stays([](const NodeView& each) { return each.frontend; }))
    fail(name + "was the last frontend");
  if (node.view.inputs > 0 && !stays([](const NodeView& each) { return each.inputs > 0; }))
    fail(name + "had the last input");
  return {};
}

Result<void> MembershipWorld::order(const DecommissionOrder& order, std::uint64_t from, std::uint64_t version) {
  using Kind = DecommissionOrder::Kind;
  Node& node = *find(order.node);
  const auto record = task();
  if (order.kind == Kind::kDrain || order.kind == Kind::kUndrain) {  // a request to the node
    if (!node.reachable()) return Error(Errc::kUnavailable, "the node does not answer");
    // The node looks at its own membership: an order may be older than that.
    if ((node.view.membership == Membership::kDecommissioning) != (order.kind == Kind::kDrain))
      return refused("its membership changed");
    node.view.draining = order.kind == Kind::kDrain;
    if (!node.view.draining) node.drained = false;
    return {};
  }
  if (!bugs_.office_not_compared) {
    if (from != office) return Error(Errc::kMetaConflict, "the office is somebody else's");
    if (record.version != version) return Error(Errc::kMetaConflict, "the task's record changed");
  }
  switch (order.kind) {
    case Kind::kMark:
      if (node.view.membership != Membership::kActive) return refused("not active");
      node.view.membership = Membership::kDecommissioning;
      return {};
    case Kind::kUnmark:
      if (node.view.membership != Membership::kDecommissioning) return refused("not decommissioning");
      node.view.membership = Membership::kActive;
      return {};
    case Kind::kFinish:
      return finish(node);
    default:
      break;
  }
  auto seen = facts(order.node);
  seen.decommissioned = node.view.membership == Membership::kDecommissioned;
  if (node.view.membership == Membership::kDecommissioning) return refused("its membership changed");
  if (!seen.decommissioned && node.view.draining) return refused("it still drains");
  task_text = encode(lifecycle::DecommissionMachine::settled(record, seen));
  return {};
}

}  // namespace outlast::sim
