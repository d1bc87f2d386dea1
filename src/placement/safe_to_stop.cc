#include "placement/safe_to_stop.h"

#include <map>
#include <set>
#include <unordered_map>

#include "placement/replication_factor.h"

namespace outlast::placement {
namespace {
constexpr std::size_t kSearchSteps = 200'000;  ///< Looks at a node and its limits, in the search after the greedy one.

/// Of the nodes that have something, only so many may stop: a range's replicas, or the frontends.
struct Limit {
  RangeId range;  ///< None: the frontends.
  int spare{0};
  int left{0}, needed{0};  ///< For the sentence: members that answer now, and min_insync.
  bool complete{false};    ///< The range has all the replicas that it is to have, and all of them answer.
};

struct Candidate {
  const NodeView* node{nullptr};
  bool counted{true};               ///< Stopping it takes something away; not so when it drains already.
  std::vector<std::size_t> limits;  ///< Indices into limits_.
};

class Search {
 public:
  Search(const ClusterView& view, const StopRules& rules) : view_(view), rules_(rules) {
    index_nodes();
    index_ranges();
    index_frontends();
  }

  StopSet run() {
    std::map<Locality, std::vector<std::size_t>> domains;
    for (std::size_t i = 0; i < candidates_.size(); ++i)
      if (!alone_blocked_by(candidates_[i]) && answers(*candidates_[i].node))
        domains[candidates_[i].node->locality].push_back(i);
    std::vector<std::size_t> best;
    for (auto& [domain, members] : domains) {
      const std::vector<std::size_t> found = largest_of(members);
      if (found.size() > best.size()) best = found;
    }
    return verdict(best);
  }

 private:
  static bool answers(const NodeView& node) { return node.health == NodeView::Health::kLive; }
  bool absent(NodeId id) const { return absent_.contains(id); }
  /// Counts for the ranges: it answers, and nobody has asked it to leave service.
  bool present(NodeId id) const {
    const auto it = by_id_.find(id);
    return it != by_id_.end() && answers(*it->second) && !it->second->draining && !absent(id);
  }

  /// Replicas that the range is to have in this cluster.
  int wanted(const RangeView& range) const {
    const int asked = range.replication_factor > 0 ? range.replication_factor : view_.replication_factor;
    return std::max(range.rf, affordable_replicas(asked, nodes_));
  }

  void index_nodes() {
    nodes_ = static_cast<int>(std::ranges::count_if(view_.nodes, &NodeView::counts));
    absent_.insert(rules_.absent.begin(), rules_.absent.end());
    const std::set<NodeId> wanted(rules_.candidates.begin(), rules_.candidates.end());
    for (const NodeView& node : view_.nodes) {
      by_id_[node.id] = &node;
      if (node.membership == Membership::kDecommissioned || absent(node.id)) continue;
      if (!wanted.empty() && !wanted.contains(node.id)) continue;
      at_[node.id] = candidates_.size();
      candidates_.push_back({.node = &node, .counted = !node.draining, .limits = {}});
    }
  }

  void index_ranges() {
    for (const RangeView& range : view_.ranges) {
      Limit limit{.range = range.range, .spare = -range.min_insync, .left = 0, .needed = range.min_insync};
      std::vector<std::size_t> held;
      for (const ReplicaRef& member : range.insync) {
        limit.left += present(member.node) ? 1 : 0;
        if (const auto it = at_.find(member.node); it != at_.end()) held.push_back(it->second);
      }
      limit.spare += limit.left;
      const int members = static_cast<int>(range.insync.size());
      limit.complete = limit.left == members && members >= wanted(range);
      const auto counted = std::ranges::count_if(held, [&](std::size_t i) { return candidates_[i].counted; });
      if (limit.spare >= 0 && counted <= limit.spare) continue;  // it never stands in the way
      for (const std::size_t i : held) candidates_[i].limits.push_back(limits_.size());
      limits_.push_back(limit);
    }
  }

  void index_frontends() {
    Limit limit{.range = {}, .spare = -1, .left = 0, .needed = 1};
    for (const NodeView& node : view_.nodes)
      limit.left += node.frontend && node.membership == Membership::kActive && present(node.id) ? 1 : 0;
    limit.spare += limit.left;
    for (Candidate& candidate : candidates_)
      if (candidate.node->frontend && candidate.node->membership == Membership::kActive)
        candidate.limits.push_back(limits_.size());
    limits_.push_back(limit);
  }

  /// What forbids it to stop even with nobody else; ranges first.
  const Limit* alone_blocked_by(const Candidate& candidate) const {
    for (const std::size_t i : candidate.limits)
      if (limits_[i].spare < (candidate.counted ? 1 : 0)) return &limits_[i];
    return nullptr;
  }

  const Limit* blocked_by(const Candidate& candidate) const {
    if (!candidate.counted) return nullptr;
    for (const std::size_t i : candidate.limits)
      if (used_[i] >= limits_[i].spare) return &limits_[i];
    return nullptr;
  }
  void use(const Candidate& candidate, int by) {
    if (!candidate.counted) return;
    for (const std::size_t i : candidate.limits) used_[i] += by;
    steps_ += candidate.limits.size();
  }

  std::vector<std::size_t> largest_of(std::vector<std::size_t>& members) {
    std::ranges::stable_sort(members, {}, [&](std::size_t i) { return candidates_[i].limits.size(); });
    used_.assign(limits_.size(), 0);
    std::vector<std::size_t> greedy;
    for (const std::size_t i : members)
      if (greedy.size() < rules_.max && blocked_by(candidates_[i]) == nullptr) {
        greedy.push_back(i);
        use(candidates_[i], 1);
      }
    best_ = std::move(greedy);
    used_.assign(limits_.size(), 0);
    steps_ = 0;
    chosen_.clear();
    improve(members, 0);
    return best_;
  }

  /// Each member is taken or left, until nothing better can follow or the steps are used up.
  void improve(const std::vector<std::size_t>& members, std::size_t from) {
    if (chosen_.size() > best_.size()) best_ = chosen_;
    if (best_.size() >= rules_.max || from == members.size()) return;
    if (chosen_.size() + (members.size() - from) <= best_.size()) return;
    if (++steps_ > kSearchSteps) {
      largest_ = false;
      return;
    }
    const Candidate& candidate = candidates_[members[from]];
    if (blocked_by(candidate) == nullptr) {
      use(candidate, 1);
      chosen_.push_back(members[from]);
      improve(members, from + 1);
      chosen_.pop_back();
      use(candidate, -1);
    }
    improve(members, from + 1);
  }

  StopSet verdict(const std::vector<std::size_t>& best) {
    StopSet out;
    out.largest = largest_;
    used_.assign(limits_.size(), 0);
    for (const std::size_t i : best) use(candidates_[i], 1);
    const std::set<std::size_t> taken(best.begin(), best.end());
    const Locality* domain = best.empty() ? nullptr : &candidates_[best.front()].node->locality;
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
      if (taken.contains(i))
        out.nodes.push_back(candidates_[i].node->id);
      else
        out.left.push_back(why_left(candidates_[i], domain));
    }
    std::ranges::sort(out.nodes);
    std::ranges::sort(out.left, {}, &StopSet::Left::node);
    return out;
  }

  static std::string replicas(int count) {
    return std::to_string(count) + (count == 1 ? " in-sync replica" : " in-sync replicas");
  }

  /// How many further limits say the same, for the sentence.
  template <class Says>
  std::string further(const Candidate& candidate, const Says& says) const {
    const auto count = std::ranges::count_if(candidate.limits, says);
    return count > 1 ? " (and " + std::to_string(count - 1) + " more)" : std::string();
  }

  StopSet::Left why_left(const Candidate& candidate, const Locality* domain) const {
    const NodeView& node = *candidate.node;
    if (!answers(node)) return {node.id, StopReason::kNotLive, "it does not answer: it has stopped already", {}};
    if (const Limit* limit = alone_blocked_by(candidate)) return alone(candidate, *limit);
    if (domain != nullptr && node.locality != *domain)
      return {node.id,
              StopReason::kDomain,
              "it stands in " + describe(node.locality) + ": one failure domain at a time, these are of " +
                  (domain->tiers.empty() ? "none" : describe(*domain)),
              {}};
    if (const Limit* limit = blocked_by(candidate)) return together(candidate, *limit);
    return {node.id, StopReason::kLimit, "it could, but no more were asked for", {}};
  }

  StopSet::Left alone(const Candidate& candidate, const Limit& limit) const {
    const NodeId id = candidate.node->id;
    if (!limit.range)
      return {
          id, StopReason::kLastFrontend, "it is the only node left that takes clients and can lead the cluster", {}};
    // What waiting can mend is told before what it cannot.
    const Limit* told = &limit;
    for (const std::size_t i : candidate.limits)
      if (limits_[i].range && limits_[i].spare < (candidate.counted ? 1 : 0) && !limits_[i].complete) {
        told = &limits_[i];
        break;
      }
    const std::string rest = further(candidate, [&](std::size_t i) {
      return limits_[i].range && limits_[i].spare < (candidate.counted ? 1 : 0) &&
             limits_[i].complete == told->complete;
    });
    const std::string name = "range " + told->range.to_string() + rest;
    if (told->complete)
      return {id, StopReason::kNoSpare,
              told->needed == 1 ? "it has the only replica of " + name
                                : name + " needs each of its " + replicas(told->left) + " for commits",
              told->range};
    return {id, StopReason::kNotInSync,
            name + " has " + replicas(told->left) + " that answer and needs " + std::to_string(told->needed) +
                " without this one",
            told->range};
  }

  StopSet::Left together(const Candidate& candidate, const Limit& limit) const {
    const NodeId id = candidate.node->id;
    if (!limit.range)
      return {id, StopReason::kLastFrontend, "nobody would be left to take clients and to lead the cluster", {}};
    const std::string rest =
        further(candidate, [&](std::size_t i) { return limits_[i].range && used_[i] >= limits_[i].spare; });
    return {id, StopReason::kShared,
            "range " + limit.range.to_string() + rest + " would keep " + replicas(limit.left - used_of(limit) - 1) +
                " and needs " + std::to_string(limit.needed),
            limit.range};
  }
  int used_of(const Limit& limit) const { return used_[static_cast<std::size_t>(&limit - limits_.data())]; }

  const ClusterView& view_;
  const StopRules& rules_;
  std::set<NodeId> absent_;
  std::unordered_map<NodeId, const NodeView*> by_id_;
  std::unordered_map<NodeId, std::size_t> at_;
  std::vector<Candidate> candidates_;
  std::vector<Limit> limits_;
  std::vector<int> used_;
  std::vector<std::size_t> best_, chosen_;
  std::size_t steps_{0};
  int nodes_{0};  ///< That count for how many replicas a range gets.
  bool largest_{true};
};

}  // namespace

std::string_view to_string(StopReason reason) {
  switch (reason) {
    case StopReason::kNotLive:
      return "not-live";
    case StopReason::kNotInSync:
      return "not-in-sync";
    case StopReason::kNoSpare:
      return "no-spare";
    case StopReason::kLastFrontend:
      return "last-frontend";
    case StopReason::kDomain:
      return "domain";
    case StopReason::kShared:
      return "shared";
    case StopReason::kLimit:
      return "limit";
  }
  return "";
}

const StopSet::Left* StopSet::find_left(NodeId node) const {
  const auto it = std::ranges::find(left, node, &Left::node);
  return it == left.end() ? nullptr : &*it;
}

StopSet safe_to_stop(const ClusterView& view, const StopRules& rules) {
  return Search(view, rules).run();
}

}  // namespace outlast::placement
