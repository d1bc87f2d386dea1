#include "placement/moves.h"

#include <algorithm>
#include <map>

#include "base/parse.h"
#include "placement/replication_factor.h"
#include "placement/standing.h"

namespace outlast::placement {
namespace {

std::string has(int count, const char* what) {
  return std::to_string(count) + (count == 1 ? " already has a " : " already have a ") + what;
}

}  // namespace

std::string explain(const Targets::Shortage& lack, std::size_t voters, std::size_t learners) {
  const int able = lack.live - lack.taken - lack.no_space - lack.domain - lack.resting;
  std::string out = std::to_string(able) + " of " + std::to_string(lack.live) +
                    " live stores are able to take a new replica for the range (" +
                    has(static_cast<int>(voters), "voter") + ", " + has(static_cast<int>(learners), "non-voter") + ")";
  if (lack.no_space > 0) out += "; " + std::to_string(lack.no_space) + " without the disk space for it";
  if (lack.domain > 0) out += "; " + std::to_string(lack.domain) + " in a failure domain that has one already";
  if (lack.resting > 0) out += "; " + std::to_string(lack.resting) + " draining or on a disk that failed";
  if (lack.no_space + lack.domain + lack.resting == 0) out += "; likely not enough nodes in cluster";
  return out;
}

BlockReason reason_of(const Targets::Shortage& lack) {
  if (lack.no_space > 0) return BlockReason::kDiskSpace;
  if (lack.domain > 0) return BlockReason::kFailureDomain;
  return BlockReason::kNotEnoughNodes;
}

namespace {

/// One attempt to place everything.
class Attempt {
 public:
  Attempt(const ClusterView& view, std::span<const NodeId> leaving, const TargetRules& rules, Random& random)
      : targets_(view, leaving, rules), random_(random) {}

  void place(const RangeView& range) {
    if (!Standing::concerned(range, targets_)) return;
    const Standing standing(range, targets_);
    if (static_cast<int>(standing.live) < range.min_insync) return block_unavailable(range, standing);
    const int rf = reduced_replicas(range.rf, targets_.staying());
    std::vector<NodeId> beside = standing.beside();
    int lacking = rf - static_cast<int>(beside.size());
    // A learner on a node that does not answer may be a member that was given up: its place is to be filled too.
    std::vector<NodeId> leave = standing.leave;
    for (const NodeId id : standing.leave_learners)
      if (targets_.find(id)->health != NodeView::Health::kLive) leave.push_back(id);
    for (const NodeId from : leave) {
      const bool last = from == leave.back();
      if (lacking <= 0) {
        (rf < range.rf ? out_.reductions : out_.moves).push_back({range.range, from, NodeId(), 0});
        continue;
      }
      // What was missing before is made up for together with the last replica that leaves.
      for (int n = last ? lacking : 1; n > 0; --n, --lacking) move(range, from, standing, beside);
    }
    for (const NodeId from : standing.leave_learners)
      if (std::ranges::find(leave, from) == leave.end()) out_.moves.push_back({range.range, from, NodeId(), 0});
  }
  MovePlan take() { return std::move(out_); }
  bool short_of_space() const {
    return std::ranges::any_of(out_.blocked, [](const auto& b) { return b.reason == BlockReason::kDiskSpace; });
  }

 private:
  void move(const RangeView& range, NodeId from, const Standing& standing, std::vector<NodeId>& beside) {
    if (const auto to = targets_.choose(range, from, beside, random_)) {
      targets_.reserve(*to, range.bytes);
      beside.push_back(*to);
      out_.moves.push_back({range.range, from, *to, range.bytes});
      out_.bytes += range.bytes;
      return;
    }
    const auto lack = targets_.shortage(range, from, beside);
    out_.blocked.push_back(
        {range.range, from, reason_of(lack), explain(lack, standing.others(), range.learners.size()), range.bytes});
  }
  void block_unavailable(const RangeView& range, const Standing& standing) {
    const std::string error = "range is unavailable: " + std::to_string(standing.live) + " of " +
                              std::to_string(range.insync.size()) + " in-sync replicas answer, " +
                              std::to_string(range.min_insync) + " are needed";
    for (const auto* nodes : {&standing.leave, &standing.leave_learners})
      for (const NodeId id : *nodes)
        out_.blocked.push_back({range.range, id, BlockReason::kUnavailable, error, range.bytes});
  }

  Targets targets_;
  Random& random_;
  MovePlan out_;
};

MovePlan attempt(const ClusterView& view, std::span<const NodeId> leaving, const TargetRules& rules, Random& random,
                 bool largest_first, bool& short_of_space) {
  Attempt attempt(view, leaving, rules, random);
  if (largest_first) {
    std::vector<const RangeView*> order;
    for (const RangeView& range : view.ranges)
      if (std::ranges::any_of(leaving, [&](NodeId id) { return range.find(id) != nullptr; })) order.push_back(&range);
    std::ranges::sort(order, [](const RangeView* a, const RangeView* b) {
      return std::tuple(b->bytes, a->range) < std::tuple(a->bytes, b->range);
    });
    for (const RangeView* range : order) attempt.place(*range);
  } else {
    for (const RangeView& range : view.ranges) attempt.place(range);
  }
  short_of_space = attempt.short_of_space();
  return attempt.take();
}

MovePlan best_attempt(const ClusterView& view, std::span<const NodeId> leaving, TargetRules rules, Random& random) {
  bool short_of_space = false;
  MovePlan plan = attempt(view, leaving, rules, random, false, short_of_space);
  if (!short_of_space) return plan;
  rules.selector = Selector::kRoom;
  MovePlan tighter = attempt(view, leaving, rules, random, true, short_of_space);
  return tighter.blocked.size() < plan.blocked.size() ? tighter : plan;
}

/// New nodes that would take every blocked replica: one range needs as many as it has blocked ones.
void add_nodes(Remedy& fix, const MovePlan& plan, const ClusterView& view) {
  std::map<RangeId, int> per_range;
  std::vector<std::uint64_t> bytes;
  std::map<NodeId, int> from;
  for (const BlockedReplica& each : plan.blocked) {
    if (each.reason == BlockReason::kUnavailable) continue;
    const auto n = static_cast<std::size_t>(++per_range[each.range]);
    if (bytes.size() < n) bytes.resize(n);
    bytes[n - 1] += each.bytes;
    ++from[each.node];
  }
  fix.add_nodes = static_cast<int>(bytes.size());
  fix.add_bytes = bytes.empty() ? 0 : bytes.front();
  int most = 0;
  for (const NodeView& node : view.nodes)
    if (const auto it = from.find(node.id); it != from.end() && it->second > most)
      most = it->second, fix.add_where = node.locality;
}

/// One node that lacks nothing but space for all that is blocked.
void free_space(Remedy& fix, const MovePlan& plan, const ClusterView& view, std::span<const NodeId> leaving,
                const TargetRules& rules) {
  if (fix.add_nodes != 1) return;
  Targets targets(view, leaving, rules);
  for (const Move& move : plan.moves) targets.reserve(move.to, move.bytes);
  std::map<RangeId, const RangeView*> blocked;
  for (const BlockedReplica& each : plan.blocked) {
    if (each.reason != BlockReason::kDiskSpace) return;
    blocked[each.range] = nullptr;
  }
  for (const RangeView& range : view.ranges)
    if (const auto it = blocked.find(range.range); it != blocked.end()) it->second = &range;
  std::map<RangeId, NodeId> going;
  for (const Move& move : plan.moves)
    if (blocked.contains(move.range)) going[move.range] = move.to;
  for (const NodeView& node : view.nodes) {
    const auto room = targets.room(node.id);
    if (!room || targets.leaving(node.id) || !node.takes_replicas()) continue;
    const bool free_of_them = std::ranges::none_of(blocked, [&](const auto& each) {
      return each.second->find(node.id) != nullptr || (going.contains(each.first) && going[each.first] == node.id);
    });
    const std::uint64_t lacking = fix.add_bytes - std::min(fix.add_bytes, *room);
    if (free_of_them && (!fix.free_on || lacking < fix.free_bytes)) fix.free_on = node.id, fix.free_bytes = lacking;
  }
}

/// Nodes that only rest, and would take everything.
void wake_nodes(Remedy& fix, const MovePlan& plan, ClusterView view, std::span<const NodeId> leaving,
                const TargetRules& rules, Random& random) {
  std::vector<NodeId> resting;
  for (NodeView& node : view.nodes)
    if (node.counts() && node.health == NodeView::Health::kLive && node.draining &&
        std::ranges::find(leaving, node.id) == leaving.end())
      node.draining = false, resting.push_back(node.id);
  if (resting.empty()) return;
  const bool others =
      std::ranges::any_of(best_attempt(view, leaving, rules, random).blocked,
                          [](const BlockedReplica& each) { return each.reason != BlockReason::kUnavailable; });
  if (!others && !plan.blocked.empty()) fix.undrain = resting;
}

std::string words(const std::vector<NodeId>& nodes) {
  std::string out;
  for (const NodeId id : nodes) out += (out.empty() ? "n" : ", n") + id.to_string();
  return out;
}

}  // namespace

std::string_view to_string(BlockReason reason) {
  switch (reason) {
    case BlockReason::kNotEnoughNodes:
      return "not enough nodes";
    case BlockReason::kDiskSpace:
      return "disk space";
    case BlockReason::kFailureDomain:
      return "failure domain";
    case BlockReason::kUnavailable:
      return "unavailable";
    case BlockReason::kNoLeaseholder:
      return "no leaseholder";
    case BlockReason::kRefused:
      return "refused";
    case BlockReason::kCopying:
      return "copying";
    case BlockReason::kQueued:
      return "queued";
    case BlockReason::kSilentMember:
      return "silent member";
    case BlockReason::kDeletion:
      return "deletion";
  }
  return "not enough nodes";
}

std::string to_string(const Remedy& fix) {
  std::string out;
  const auto also = [&](const std::string& what, const char* joint) { out += (out.empty() ? "" : joint) + what; };
  if (!fix.revive.empty())
    also("start the silent nodes of " + std::to_string(fix.revive.size()) + " unavailable ranges", "; ");
  if (!fix.undrain.empty()) {
    also("undrain " + words(fix.undrain), "; ");
  } else if (fix.add_nodes > 0) {
    if (fix.free_on) also("free " + format_bytes(fix.free_bytes) + " on n" + fix.free_on.to_string(), "; ");
    also("add " + std::to_string(fix.add_nodes) + (fix.add_nodes == 1 ? " node" : " nodes") +
             (fix.add_where.tiers.empty() ? "" : " in " + describe(fix.add_where)) +
             (fix.add_bytes == 0 ? "" : " with " + format_bytes(fix.add_bytes) + " free") +
             (fix.add_bytes > 0 && fix.add_nodes > 1 ? " each" : ""),
         fix.free_on ? ", or " : "; ");
  }
  return out;
}

MovePlan plan_moves(const ClusterView& view, std::span<const NodeId> leaving, const TargetRules& rules,
                    Random& random) {
  MovePlan plan = best_attempt(view, leaving, rules, random);
  if (plan.blocked.empty()) return plan;
  for (const BlockedReplica& each : plan.blocked)
    if (each.reason == BlockReason::kUnavailable) plan.fix.revive.push_back(each.range);
  const auto repeated = std::ranges::unique(plan.fix.revive);
  plan.fix.revive.erase(repeated.begin(), repeated.end());
  add_nodes(plan.fix, plan, view);
  if (plan.fix.add_nodes == 0) return plan;
  free_space(plan.fix, plan, view, leaving, rules);
  wake_nodes(plan.fix, plan, view, leaving, rules, random);
  return plan;
}

}  // namespace outlast::placement
