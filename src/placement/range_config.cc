#include "placement/range_config.h"

#include <algorithm>

namespace outlast::placement {
namespace {

const ReplicaRef* find_in(const std::vector<ReplicaRef>& refs, NodeId node) {
  const auto it = std::find_if(refs.begin(), refs.end(), [&](const ReplicaRef& ref) { return ref.node == node; });
  return it == refs.end() ? nullptr : &*it;
}

void erase_node(std::vector<ReplicaRef>& refs, NodeId node) {
  std::erase_if(refs, [&](const ReplicaRef& ref) { return ref.node == node; });
}

bool shrinks_below(const RangeConfig& now) {
  return static_cast<int>(now.insync.size()) - 1 < now.min_insync;
}

Error refused(const RangeConfig& now, const std::string& why) {
  return {Errc::kInvalidState, "range " + now.range.to_string() + ": " + why};
}

RangeConfig changed(const RangeConfig& now) {
  RangeConfig next = now;
  next.cfg = now.cfg.next();
  return next;
}

}  // namespace

const ReplicaRef* RangeConfig::find_insync(NodeId node) const {
  return find_in(insync, node);
}
const ReplicaRef* RangeConfig::find_learner(NodeId node) const {
  return find_in(learners, node);
}
const ReplicaRef* RangeConfig::find(NodeId node) const {
  const ReplicaRef* ref = find_insync(node);
  return ref != nullptr ? ref : find_learner(node);
}

RangeConfig create_range(RangeId range, DatabaseId database, NodeId node, const std::string& store_uuid,
                         Incarnation inc) {
  RangeConfig config;
  config.range = range;
  config.database = database;
  config.epoch = Epoch(1);
  config.cfg = ConfigVersion(1);
  config.leaseholder = Leaseholder{node, inc};
  config.insync = {{node, store_uuid, ReplicaId(1)}};
  config.next_replica = ReplicaId(2);
  return config;
}

Result<RangeConfig> remove_backup(const RangeConfig& now, NodeId node) {
  const ReplicaRef* ref = now.find_insync(node);
  if (ref == nullptr) return refused(now, "node " + node.to_string() + " is not in sync");
  if (now.leaseholder && now.leaseholder->node == node)
    return refused(now, "node " + node.to_string() + " holds the lease; transfer it first");
  if (shrinks_below(now))
    return refused(now, "the in-sync set would fall below min_insync " + std::to_string(now.min_insync));
  RangeConfig next = changed(now);
  next.learners.push_back(*ref);
  erase_node(next.insync, node);
  return next;
}

Result<RangeConfig> add_learner(const RangeConfig& now, NodeId node, const std::string& store_uuid) {
  if (now.find(node) != nullptr) return refused(now, "node " + node.to_string() + " has a replica already");
  if (store_uuid.empty()) return refused(now, "the store of node " + node.to_string() + " is not known yet");
  RangeConfig next = changed(now);
  next.learners.push_back({node, store_uuid, now.next_replica});
  next.next_replica = now.next_replica.next();
  return next;
}

Result<RangeConfig> promote_learner(const RangeConfig& now, NodeId node, const std::string& store_uuid, int rf_wanted) {
  const ReplicaRef* ref = now.find_learner(node);
  if (ref == nullptr) return refused(now, "node " + node.to_string() + " has no learner");
  if (ref->store_uuid != store_uuid)
    return refused(now, "the learner on node " + node.to_string() + " lies in another store");
  RangeConfig next = changed(now);
  next.insync.push_back(*ref);
  erase_node(next.learners, node);
  const int members = static_cast<int>(next.insync.size());
  next.rf = std::max(now.rf, std::min(rf_wanted, members));
  next.min_insync = min_insync_of(next.rf);
  return next;
}

Result<RangeConfig> remove_learner(const RangeConfig& now, NodeId node) {
  const ReplicaRef* ref = now.find_learner(node);
  if (ref == nullptr) return refused(now, "node " + node.to_string() + " has no learner");
  RangeConfig next = changed(now);
  next.removed.push_back(*ref);
  erase_node(next.learners, node);
  return next;
}

Result<RangeConfig> take_over(const RangeConfig& now, NodeId successor, Incarnation incarnation) {
  if (now.find_insync(successor) == nullptr)
    return refused(now, "node " + successor.to_string() + " is not in sync and may not lead");
  RangeConfig next = changed(now);
  next.epoch = now.epoch.next();
  next.leaseholder = Leaseholder{successor, incarnation};
  if (!now.leaseholder || now.leaseholder->node == successor) return next;
  const ReplicaRef* old = now.find_insync(now.leaseholder->node);
  if (old == nullptr || shrinks_below(now)) return next;
  next.learners.push_back(*old);
  erase_node(next.insync, old->node);
  return next;
}

Result<RangeConfig> transfer_lease(const RangeConfig& now, NodeId target, Incarnation incarnation) {
  if (now.find_insync(target) == nullptr)
    return refused(now, "node " + target.to_string() + " is not in sync and may not lead");
  if (!now.leaseholder) return refused(now, "nobody holds the lease");
  if (now.leaseholder->node == target) return refused(now, "node " + target.to_string() + " holds the lease already");
  RangeConfig next = changed(now);
  next.epoch = now.epoch.next();
  next.leaseholder = Leaseholder{target, incarnation};
  return next;
}

Result<RangeConfig> fall_back(const RangeConfig& now) {
  if (!now.leaseholder) return refused(now, "nobody holds the lease");
  RangeConfig next = changed(now);
  next.epoch = now.epoch.next();
  return next;
}

Result<RangeConfig> release_lease(const RangeConfig& now) {
  if (!now.leaseholder) return refused(now, "nobody holds the lease");
  RangeConfig next = changed(now);
  next.leaseholder.reset();
  return next;
}

Result<RangeConfig> forget_removed(const RangeConfig& now, ReplicaId replica) {
  RangeConfig next = changed(now);
  if (std::erase_if(next.removed, [&](const ReplicaRef& ref) { return ref.replica == replica; }) == 0)
    return refused(now, "replica " + replica.to_string() + " is not among the removed");
  return next;
}

}  // namespace outlast::placement
