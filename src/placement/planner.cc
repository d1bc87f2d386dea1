#include "placement/planner.h"

#include <algorithm>
#include <map>
#include <optional>

namespace outlast::placement {
namespace {

/// The cluster with what the plan has already decided counted in.
class Planner {
 public:
  Planner(const ClusterView& view, const PlanLimits& limits) : view_(view), limits_(limits) {
    for (const NodeView& node : view.nodes) nodes_[node.node] = &node;
    for (const RangeConfig& range : view.ranges) {
      for (const auto* list : {&range.insync, &range.learners})
        for (const ReplicaRef& replica : *list) ++replicas_[replica.node];
      if (range.leaseholder) ++leases_[range.leaseholder->node];
    }
    eligible_ = static_cast<int>(
        std::count_if(view.nodes.begin(), view.nodes.end(), [](const NodeView& n) { return n.eligible(); }));
  }

  std::vector<Step> run() {
    for (const RangeConfig& range : view_.ranges) {
      if (steps_.size() >= limits_.steps_max) break;
      if (!range.leaseholder) continue;
      if (auto step = repair(range)) {
        steps_.push_back(*step);
        busy_[range.range] = true;
      }
    }
    balance_leases();
    return steps_;
  }

 private:
  const NodeView* node(NodeId id) const {
    const auto it = nodes_.find(id);
    return it == nodes_.end() ? nullptr : it->second;
  }
  bool lost(const ReplicaRef& replica) const {
    const NodeView* n = node(replica.node);
    return n == nullptr || n->dead || n->store_uuid != replica.store_uuid;
  }

  /// The replica that this range lacks, or the one that it has too many.
  std::optional<Step> repair(const RangeConfig& range) {
    const int target = std::max(1, std::min(view_.rf_wanted, eligible_));
    int healthy = 0;
    bool catching_up = false;
    for (const ReplicaRef& replica : range.insync) healthy += lost(replica) ? 0 : 1;
    for (const ReplicaRef& replica : range.learners)
      if (!lost(replica)) {
        ++healthy;
        catching_up = true;
      }
    // A learner that nobody will wait for makes room first: one replica per node, and dead ones are not counted on.
    if (healthy >= target && !catching_up)
      for (const ReplicaRef& replica : range.learners)
        if (lost(replica)) return Step{Step::Kind::kRemoveReplica, range.range, replica.node, 0};
    if (healthy >= target) return std::nullopt;
    const std::optional<NodeId> place = best_target(range);
    if (!place) return std::nullopt;
    ++replicas_[*place];
    return Step{Step::Kind::kAddReplica, range.range, *place, std::max(range.rf, target)};
  }

  std::optional<NodeId> best_target(const RangeConfig& range) const {
    std::optional<NodeId> best;
    for (const NodeView& n : view_.nodes) {
      if (!n.eligible() || range.find(n.node) != nullptr) continue;
      if (!best || count(replicas_, n.node) < count(replicas_, *best)) best = n.node;
    }
    return best;
  }

  /// From the node with most leases to the in-sync member with fewest, while that lowers the difference.
  void balance_leases() {
    std::size_t moved = 0;
    for (const RangeConfig& range : view_.ranges) {
      if (moved >= limits_.transfers_max || steps_.size() >= limits_.steps_max) return;
      if (!range.leaseholder || busy_.contains(range.range)) continue;
      const NodeId from = range.leaseholder->node;
      std::optional<NodeId> to;
      for (const ReplicaRef& replica : range.insync) {
        const NodeView* n = node(replica.node);
        if (replica.node == from || n == nullptr || !n->eligible() || n->store_uuid != replica.store_uuid) continue;
        if (!to || count(leases_, replica.node) < count(leases_, *to)) to = replica.node;
      }
      if (!to || count(leases_, from) - count(leases_, *to) < 2) continue;
      --leases_[from];
      ++leases_[*to];
      ++moved;
      steps_.push_back({Step::Kind::kTransferLease, range.range, *to, 0});
    }
  }

  static int count(const std::map<NodeId, int>& counts, NodeId node) {
    const auto it = counts.find(node);
    return it == counts.end() ? 0 : it->second;
  }

  const ClusterView& view_;
  const PlanLimits limits_;
  std::map<NodeId, const NodeView*> nodes_;
  std::map<NodeId, int> replicas_, leases_;
  std::map<RangeId, bool> busy_;
  int eligible_{0};
  std::vector<Step> steps_;
};

}  // namespace

std::vector<Step> plan(const ClusterView& view, const PlanLimits& limits) { return Planner(view, limits).run(); }

}  // namespace outlast::placement
