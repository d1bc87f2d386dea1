#include "placement/mover.h"

#include <algorithm>

#include "base/parse.h"
#include "placement/replication_factor.h"
#include "placement/standing.h"

namespace outlast::placement {
using Kind = Step::Kind;

struct Mover::Round {
  Instant now;
  const ClusterView& view;
  Targets targets;
  Random& random;
  bool impatient{false};
  std::vector<Step> steps;
  std::map<NodeId, std::uint64_t> building;
  std::map<NodeId, std::uint64_t> sending;
  struct InLine {  ///< A range whose copies have not begun: its leaseholder sends others first.
    const RangeView* range;
    std::vector<NodeId> heirs;
    std::uint64_t bytes;
  };
  std::vector<InLine> in_line;

  MoveState::Left* left(MoveState& state, NodeId id) const {
    const auto it = std::ranges::lower_bound(state.nodes, id, {}, &MoveState::Left::node);
    return it != state.nodes.end() && it->node == id ? &*it : nullptr;
  }
  bool live(NodeId id) const {
    const NodeView* node = targets.find(id);
    return node != nullptr && node->health == NodeView::Health::kLive;
  }
  bool sends(NodeId id) const {
    const NodeView* node = targets.find(id);
    return live(id) && !node->draining && !node->exiting && !node->store_failed;
  }
  void look_at_line(const RangeView& range, const Standing& standing, std::uint64_t bytes) {
    if (!std::ranges::all_of(standing.coming, [&](NodeId id) { return range.queued(id); })) return;
    std::vector<NodeId> heirs = standing.stay;
    std::erase_if(heirs, [&](NodeId id) { return !targets.find(id)->takes_replicas(); });
    // A leaving one, too: the only other member may have far more to send, and the lease leaves it with its replica.
    std::ranges::copy_if(standing.leave, std::back_inserter(heirs), [&](NodeId id) { return sends(id); });
    in_line.push_back({&range, std::move(heirs), bytes});
  }
  /// Another member of S that would have sent the range's copies before its leaseholder, and others no later.
  std::optional<NodeId> lighter(const InLine& waiting) {
    const auto heir = std::ranges::min_element(waiting.heirs, {}, [&](NodeId id) { return sending[id]; });
    if (heir == waiting.heirs.end() || waiting.bytes == 0) return std::nullopt;
    std::uint64_t& from = sending[waiting.range->leaseholder->node];
    if (sending[*heir] + 2 * waiting.bytes > from) return std::nullopt;
    from -= waiting.bytes, sending[*heir] += waiting.bytes;
    return *heir;
  }
};

std::vector<Step> Mover::next(Instant now, const ClusterView& view, std::span<const NodeId> leaving, Random& random,
                              std::span<const NodeId> others) {
  forget_old(now);
  forget_shown(view);
  state_ = {};
  for (const NodeId id : leaving) state_.nodes.push_back({id});
  std::ranges::sort(state_.nodes, {}, &MoveState::Left::node);
  if (leaving.empty()) return {};
  std::vector<NodeId> all(leaving.begin(), leaving.end());
  all.insert(all.end(), others.begin(), others.end());
  Round round{now, view, Targets(view, all, rules_, bugs_.targets), random, std::exchange(impatient_, false), {}, {},
              {},  {}};
  reserve_asked(round);
  for (const RangeView& range : view.ranges)
    if (account(round, range)) consider(round, range);
  for (const Round::InLine& waiting : round.in_line)
    if (const auto heir = round.lighter(waiting))
      take(round, *waiting.range, Kind::kTransferLease, *heir, waiting.range->rf);
  for (const auto& [node, bytes] : round.building) state_.targets.push_back({node, bytes});
  for (const auto& [node, bytes] : round.sending) state_.senders.push_back({node, bytes});
  return std::move(round.steps);
}

void Mover::answered(const Step& step, const Result<void>& result, Instant now) {
  const auto it = asked_.find(step.range);
  if (it == asked_.end() || it->second.step != step) return;
  if (result.ok()) {
    it->second.taken = true, it->second.at = now;
    refused_.erase(step.range);
    return;
  }
  asked_.erase(it);
  refused(step, now, result.error().message);
}

/// Most often whoever was asked does not know yet what the view shows, and will in a moment.
void Mover::refused(const Step& step, Instant now, const std::string& why) {
  Refusal& refusal = refused_[step.range];
  const Duration rest = std::min(limits_.rest, limits_.first_rest * (1 << std::min(refusal.times, 16)));
  refusal = {now + rest, why, refusal.times + 1};
  if (step.kind == Kind::kAddReplica) avoided_[{step.range, step.node}] = now + limits_.avoid;
}

void Mover::forget_old(Instant now) {
  for (auto it = asked_.begin(); it != asked_.end();) {
    if (now - it->second.at <= (it->second.taken ? limits_.rest : limits_.answer_limit)) {
      ++it;
      continue;
    }
    if (it->second.taken) {
      it = asked_.erase(it);
      continue;
    }
    refused(it->second.step, now, "no answer within " + format_duration(limits_.answer_limit));
    it = asked_.erase(it);
  }
  std::erase_if(avoided_, [&](const auto& each) { return each.second <= now; });
  std::erase_if(refused_, [&](const auto& each) { return each.second.until + limits_.avoid <= now; });
}

/// Asked for by what an older view says, a step would only be refused.
void Mover::forget_shown(const ClusterView& view) {
  if (asked_.empty()) return;
  for (const RangeView& range : view.ranges) {
    const auto it = asked_.find(range.range);
    if (it != asked_.end() && it->second.taken && it->second.cfg != range.cfg) asked_.erase(it);
  }
}

/// Learners that were asked for and are not in the view yet take their place and space already.
void Mover::reserve_asked(Round& round) {
  if (asked_.empty()) return;
  std::map<RangeId, const RangeView*> ranges;
  for (const RangeView& range : round.view.ranges)
    if (asked_.contains(range.range)) ranges[range.range] = &range;
  for (const auto& [id, asked] : asked_) {
    if (asked.step.kind != Kind::kAddReplica) continue;
    const auto it = ranges.find(id);
    if (it != ranges.end() && it->second->find(asked.step.node) != nullptr) continue;
    round.targets.reserve(asked.step.node, asked.bytes);
    ++state_.under_way;
  }
}

/// Counts what the range has on leaving nodes; false when none of them is a member.
bool Mover::account(Round& round, const RangeView& range) {
  bool concerned = false;
  for (const auto* refs : {&range.insync, &range.learners})
    for (const ReplicaRef& ref : *refs)
      if (auto* left = round.left(state_, ref.node))
        ++left->replicas, left->bytes += range.bytes, ++state_.replicas_left, concerned = true;
  if (range.leaseholder)
    if (auto* left = round.left(state_, range.leaseholder->node)) ++left->leases;
  if (bugs_.deletion_ignored) return concerned;
  for (const ReplicaRef& ref : range.removed) {
    auto* left = round.left(state_, ref.node);
    const NodeView* node = round.targets.find(ref.node);
    // A dead node deletes nothing: it never opens its store again once it is decommissioned.
    if (left == nullptr || node == nullptr || node->health == NodeView::Health::kDead) continue;
    ++left->replicas, ++state_.replicas_left;
    state_.waiting.push_back(
        {range.range, ref.node, BlockReason::kDeletion, "the data of a replica that left is not deleted yet", 0});
  }
  return concerned;
}

void Mover::consider(Round& round, const RangeView& range) {
  const Standing standing(range, round.targets);
  int rf = reduced_replicas(range.rf, round.targets.staying());
  if (bugs_.reduces_freely) rf = std::min(range.rf, std::max(1, static_cast<int>(standing.stay.size())));
  const int have = static_cast<int>(standing.stay.size() + standing.coming.size());
  std::uint64_t to_send = 0;
  for (const NodeId id : standing.coming) {
    const std::uint64_t missing = range.missing_on(id);
    round.building[id] += missing, to_send += missing, ++state_.under_way;
    state_.largest_left = std::max(state_.largest_left, missing);
  }
  if (have < rf) {
    to_send += range.bytes * static_cast<std::uint64_t>(rf - have);
    state_.largest_left = std::max(state_.largest_left, range.bytes);
  }
  state_.bytes_left += to_send;
  if (to_send > 0 && range.leaseholder) round.sending[range.leaseholder->node] += to_send;
  if (asked_.contains(range.range)) return;
  // While it is led, a new member helps even a range that lacks too many to write (protocol A3).
  if (!standing.led && static_cast<int>(standing.live) < range.min_insync)
    return wait(range, standing, BlockReason::kUnavailable, "too few of its in-sync replicas answer");
  if (!standing.led) return wait(range, standing, BlockReason::kNoLeaseholder, "nobody leads the range at present");
  if (const auto it = refused_.find(range.range);
      it != refused_.end() && it->second.until > round.now && !round.impatient) {
    state_.ask_again = std::min(state_.ask_again.value_or(it->second.until), it->second.until);
    return wait(range, standing, BlockReason::kRefused, it->second.why);
  }
  if (clear_learners(round, range, standing) || replace_slow(round, range, standing)) return;
  if (have < rf) return add(round, range, standing);
  const int ready =
      static_cast<int>(standing.stay_live) + (bugs_.learners_count ? static_cast<int>(standing.coming.size()) : 0);
  if (ready >= rf) return leave(round, range, standing, rf);
  if (!standing.coming.empty()) {
    if (round.now - watched_[range.range].since >= limits_.patience / 2) round.look_at_line(range, standing, to_send);
    return wait(range, standing, BlockReason::kCopying, "the copy is under way");
  }
  wait(range, standing, BlockReason::kSilentMember, "an in-sync replica that stays does not answer");
}

/// Learners on nodes that leave, die or drain make room for others.
bool Mover::clear_learners(Round& round, const RangeView& range, const Standing& standing) {
  if (!standing.lost_learners.empty()) {
    take(round, range, Kind::kRemoveReplica, standing.lost_learners.front(), range.rf);
    return true;
  }
  for (const NodeId id : standing.leave_learners) {
    // A dead member that its leaseholder made a learner stays named until the range is whole without it.
    if (!round.live(id) && static_cast<int>(standing.stay_live) < range.rf) continue;
    take(round, range, Kind::kRemoveReplica, id, range.rf);
    return true;
  }
  return false;
}

/// A learner that gets no byte: another target if there is one, else another leaseholder to copy from.
bool Mover::replace_slow(Round& round, const RangeView& range, const Standing& standing) {
  if (standing.coming.empty()) {
    watched_.erase(range.range);
    return false;
  }
  const NodeId id = standing.coming.front();
  Watch& watch = watched_[range.range];
  const std::uint64_t missing = range.missing_on(id);
  if (watch.node != id || watch.epoch != range.epoch || missing < watch.missing) {
    watch = {id, range.epoch, missing, round.now, watch.node == id && missing >= watch.missing ? watch.tries : 0};
    return false;
  }
  if (missing == 0) return false;  // its promotion is its leaseholder's business
  if (range.queued(id) && !round.impatient) return false;
  const Duration patience = round.impatient ? limits_.patience / 2 : limits_.patience;
  if (round.now - watch.since < patience) return false;
  watch.since = round.now;
  avoided_[{range.range, id}] = round.now + limits_.avoid;
  // One whose disk cannot hold the rest is given up even when there is no other: that is what has to be told then.
  const Disk& disk = round.targets.find(id)->disk;
  const bool too_full = disk.known() && disk.available_bytes < missing;
  if (too_full || (watch.tries % 2 == 0 && target(round, range, standing, false))) {
    ++watch.tries;
    take(round, range, Kind::kRemoveReplica, id, range.rf);
    return true;
  }
  if (watch.tries++ > 1) return false;  // both were tried
  for (const NodeId heir : standing.stay) {
    const NodeView* node = round.targets.find(heir);
    if (heir == range.leaseholder->node || !node->takes_replicas()) continue;
    take(round, range, Kind::kTransferLease, heir, range.rf);
    return true;
  }
  return false;
}

std::optional<NodeId> Mover::target(Round& round, const RangeView& range, const Standing& standing, bool any) const {
  const NodeId replaced = standing.leave.empty() ? standing.leave_learners.front() : standing.leave.front();
  return round.targets.choose(range, replaced, standing.beside(), round.random,
                              [&](NodeId id) { return any || !avoided_.contains({range.range, id}); });
}

void Mover::add(Round& round, const RangeView& range, const Standing& standing) {
  if (state_.under_way >= limits_.at_once)
    return wait(range, standing, BlockReason::kQueued, "enough moves are under way");
  auto to = target(round, range, standing, false);
  if (!to) to = target(round, range, standing, true);  // the only ones left failed before: again
  if (to) {
    round.targets.reserve(*to, range.bytes);
    ++state_.under_way;
    return take(round, range, Kind::kAddReplica, *to, range.rf);
  }
  const NodeId from = standing.leave.empty() ? standing.leave_learners.front() : standing.leave.front();
  const auto lack = round.targets.shortage(range, from, standing.beside());
  const int able = lack.live - lack.taken - lack.no_space - lack.domain - lack.resting;
  if (able > 0) return wait(range, standing, BlockReason::kQueued, "its new nodes build enough replicas already");
  wait(range, standing, reason_of(lack), explain(lack, standing.others(), range.learners.size()));
}

void Mover::leave(Round& round, const RangeView& range, const Standing& standing, int rf) {
  const NodeId leader = range.leaseholder->node;
  for (const NodeId id : standing.leave)
    if (id != leader)
      return take(round, range, rf < range.rf ? Kind::kReduceReplication : Kind::kRemoveReplica, id, rf);
  std::optional<NodeId> heir;
  for (const NodeId id : standing.stay)
    if (round.targets.find(id)->takes_replicas() && (!heir || round.targets.leases(id) < round.targets.leases(*heir)))
      heir = id;
  if (!heir) return wait(range, standing, BlockReason::kSilentMember, "no replica that stays may take the lease now");
  round.targets.move_lease(leader, *heir);
  take(round, range, Kind::kTransferLease, *heir, range.rf);
}

void Mover::take(Round& round, const RangeView& range, Kind kind, NodeId node, int rf) {
  const Step step{kind, range.range, node, rf};
  asked_[range.range] = {step, round.now, range.bytes, range.cfg};
  round.steps.push_back(step);
}

void Mover::wait(const RangeView& range, const Standing& standing, BlockReason reason, const std::string& why) {
  for (const auto* nodes : {&standing.leave, &standing.leave_learners})
    for (const NodeId id : *nodes) state_.waiting.push_back({range.range, id, reason, why, range.bytes});
}

}  // namespace outlast::placement
