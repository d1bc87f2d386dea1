#include "placement/planner.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "base/loop.h"
#include "placement/replication_factor.h"
#include "placement/targets.h"

namespace outlast::placement {
namespace {

using Kind = Step::Kind;

/// One plan under construction; counts are kept as if every planned step had been taken.
class Plan {
 public:
  Plan(const ClusterView& view, const PlannerLimits& limits)
      : view_(view), limits_(limits), targets_(view, {}, {.selector = Selector::kBest}) {
    for (const NodeView& node : view.nodes) nodes_[node.id] = &node;
    for (const RangeView& range : view.ranges) {
      for (const auto* refs : {&range.insync, &range.learners})
        for (const ReplicaRef& ref : *refs) ++replicas_[ref.node];
      if (range.leaseholder) ++leases_[range.leaseholder->node];
      learners_ += range.learners.size();
    }
    for (const NodeView& node : view.nodes)
      if (eligible(node.id)) eligible_.push_back(node.id);
  }

  std::vector<Step> make() {
    for (const RangeView& range : view_.ranges)
      if (led(range) && !range.in_task) repair(range);
    for (const RangeView& range : view_.ranges)
      if (led(range) && !range.in_task && !touched_.contains(range.range)) shed_lease(range);
    if (!in_flux()) level_replicas();
    level_leases();
    return std::move(steps_);
  }

 private:
  bool full() const { return steps_.size() >= limits_.steps_max; }
  bool eligible(NodeId id) const {
    const auto it = nodes_.find(id);
    return it != nodes_.end() && it->second->takes_replicas();
  }
  /// Somebody is there to take a step.
  bool led(const RangeConfig& range) const {
    if (!range.leaseholder) return false;
    const auto it = nodes_.find(range.leaseholder->node);
    return it != nodes_.end() && it->second->health == NodeView::Health::kLive;
  }
  /// The replica will not come back: its node is dead or unknown, or its store was replaced.
  bool lost(const ReplicaRef& ref) const {
    const auto it = nodes_.find(ref.node);
    return it == nodes_.end() || it->second->health == NodeView::Health::kDead ||
           (!it->second->store_uuid.empty() && it->second->store_uuid != ref.store_uuid);
  }
  /// The members of a range that stay, but for one of them.
  std::vector<NodeId> beside(const RangeView& range, NodeId one = {}) const {
    std::vector<NodeId> nodes;
    for (const auto* refs : {&range.insync, &range.learners})
      for (const ReplicaRef& ref : *refs)
        if (ref.node != one && !lost(ref)) nodes.push_back(ref.node);
    return nodes;
  }
  int wanted(const RangeView& range) const {
    const int asked = range.replication_factor > 0 ? range.replication_factor : view_.replication_factor;
    return std::max(range.rf, affordable_replicas(asked, static_cast<int>(eligible_.size())));
  }
  void take(Kind kind, const RangeView& range, NodeId node) {
    steps_.push_back({kind, range.range, node, wanted(range)});
    touched_.insert(range.range);
    if (kind == Kind::kAddReplica) ++replicas_[node], ++learners_, targets_.reserve(node, range.bytes);
    if (kind == Kind::kRemoveReplica) --replicas_[node], targets_.release(node, 0);
    if (kind == Kind::kTransferLease) --leases_[range.leaseholder->node], ++leases_[node];
  }
  /// The node with the fewest of `counts` among those that `fits` accepts; the lowest id among equals.
  template <class Fits>
  std::optional<NodeId> least(std::map<NodeId, int>& counts, Fits fits) {
    std::optional<NodeId> best;
    for (const NodeId id : eligible_)
      if (fits(id) && (!best || counts[id] < counts[*best] || (counts[id] == counts[*best] && id < *best))) best = id;
    return best;
  }

  /// Lost replicas go, missing ones come, then those too many go.
  void repair(const RangeView& range) {
    if (full()) return;
    int present = 0;
    for (const ReplicaRef& ref : range.learners) {
      if (lost(ref)) return take(Kind::kRemoveReplica, range, ref.node);
      ++present;
    }
    for (const ReplicaRef& ref : range.insync) present += lost(ref) ? 0 : 1;
    for (const ReplicaRef& ref : range.insync)
      if (lost(ref) && remove_backup(range, ref.node).ok()) return take(Kind::kRemoveReplica, range, ref.node);
    if (present < wanted(range)) {
      if (learners_ >= limits_.learners_max) return;
      const auto target = targets_.choose(range, NodeId(), beside(range), unused_);
      if (target) take(Kind::kAddReplica, range, *target);
      return;
    }
    if (range.learners.empty() && static_cast<int>(range.insync.size()) > wanted(range)) drop_one(range);
  }

  /// A move's second half: the member that stands nearest to others goes, of several the one on the fullest node; if
  /// that one leads, its lease goes first.
  void drop_one(const RangeView& range) {
    const auto rank = [&](const ReplicaRef& ref) {
      return std::tuple(!eligible(ref.node), -targets_.apart(ref.node, beside(range, ref.node)), replicas_[ref.node]);
    };
    const ReplicaRef* fullest = &range.insync.front();
    for (const ReplicaRef& ref : range.insync)
      if (rank(ref) > rank(*fullest)) fullest = &ref;
    if (fullest->node != range.leaseholder->node) return take(Kind::kRemoveReplica, range, fullest->node);
    const auto heir =
        least(leases_, [&](NodeId id) { return id != fullest->node && range.find_insync(id) != nullptr; });
    if (heir) take(Kind::kTransferLease, range, *heir);
  }

  /// The leaseholder's process gives its leases away itself, and knows which of them statements still need. A disk that
  /// failed waits for nobody.
  bool gives_away(NodeId holder) const {
    const NodeView& node = *nodes_.at(holder);
    return node.exiting && !node.store_failed;
  }

  /// Leases leave nodes that are draining, on their way out, or on a disk that failed.
  void shed_lease(const RangeView& range) {
    if (full() || eligible(range.leaseholder->node) || gives_away(range.leaseholder->node)) return;
    const auto heir = least(leases_, [&](NodeId id) { return range.find_insync(id) != nullptr; });
    if (heir) take(Kind::kTransferLease, range, *heir);
  }

  bool in_flux() const {
    return std::any_of(view_.ranges.begin(), view_.ranges.end(), [&](const RangeView& range) {
      return !range.learners.empty() || touched_.contains(range.range) || range.in_task || !led(range) ||
             static_cast<int>(range.insync.size()) != wanted(range);
    });
  }

  /// A better place for a replica that stands at `source`: farther from the others, or as far and less full by 2.
  std::optional<NodeId> better_place(const RangeView& range, NodeId source) {
    const std::vector<NodeId> others = beside(range, source);
    const int now = targets_.apart(source, others);
    if (replicas_[source] - fewest_ < 2 && targets_.farthest(others) <= now) return std::nullopt;
    const auto target = targets_.choose(range, source, others, unused_);
    if (!target) return std::nullopt;
    const int gain = targets_.apart(*target, others) - now;
    if (gain < 0 || (gain == 0 && replicas_[source] - replicas_[*target] < 2)) return std::nullopt;
    return target;
  }

  /// Failure domains first, then evenness. A move never brings replicas nearer to each other, so none is undone.
  void level_replicas() {
    fewest_ = std::numeric_limits<int>::max();
    for (const NodeId id : eligible_) fewest_ = std::min(fewest_, replicas_[id]);
    for (const RangeView& range : view_.ranges) {
      if (full() || learners_ >= limits_.learners_max) return;
      for (const ReplicaRef& ref : range.insync) {
        const auto target = better_place(range, ref.node);
        if (!target) continue;
        take(Kind::kAddReplica, range, *target);
        --replicas_[ref.node];  // where it will go from, once the new one is a member
        break;
      }
    }
  }

  void level_leases() {
    for (const RangeView& range : view_.ranges) {
      if (full()) return;
      if (!led(range) || range.in_task || touched_.contains(range.range) ||
          static_cast<int>(range.insync.size()) > wanted(range))
        continue;
      const NodeId holder = range.leaseholder->node;
      if (gives_away(holder)) continue;
      const auto heir = least(leases_, [&](NodeId id) { return range.find_insync(id) != nullptr; });
      if (heir && leases_[holder] - leases_[*heir] >= 2) take(Kind::kTransferLease, range, *heir);
    }
  }

  const ClusterView& view_;
  const PlannerLimits& limits_;
  Targets targets_;
  std::map<NodeId, const NodeView*> nodes_;
  std::map<NodeId, int> replicas_, leases_;
  std::vector<NodeId> eligible_;
  std::size_t learners_{0};
  int fewest_{0};
  SeededRandom unused_{0};  ///< Targets draws only for Selector::kGood.
  std::set<RangeId> touched_;
  std::vector<Step> steps_;
};

}  // namespace

std::vector<Step> plan(const ClusterView& view, const PlannerLimits& limits) {
  return Plan(view, limits).make();
}

}  // namespace outlast::placement
