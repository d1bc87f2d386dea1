#include "placement/targets.h"

#include <algorithm>
#include <map>

namespace outlast::placement {

Result<Selector> parse_selector(std::string_view text) {
  if (text == "good") return Selector::kGood;
  if (text == "best") return Selector::kBest;
  return Error(Errc::kInvalidArgument,
               "kv.allocator.recovery_store_selector is good or best, not \"" + std::string(text) + "\"");
}

Targets::Targets(const ClusterView& view, std::span<const NodeId> leaving, TargetRules rules, TargetBugs bugs)
    : rules_(rules), bugs_(bugs) {
  entries_.reserve(view.nodes.size());
  for (const NodeView& node : view.nodes) {
    at_[node.id] = entries_.size();
    entries_.push_back({.node = &node, .takes = node.takes_replicas()});
    if (bugs_.draining_accepted && node.draining && node.health == NodeView::Health::kLive && node.counts())
      entries_.back().takes = true;
  }
  for (const NodeId id : leaving)
    if (Entry* each = entry(id)) each->leaves = true, each->takes = false;
  for (const Entry& each : entries_)
    if (each.node->counts() && !each.leaves) ++staying_;
  index_domains();
  for (const RangeView& range : view.ranges) {
    for (const ReplicaRef& ref : range.insync)
      if (Entry* each = entry(ref.node)) ++each->replicas;
    for (const ReplicaRef& ref : range.learners) reserve(ref.node, range.missing_on(ref.node));
    if (range.leaseholder)
      if (Entry* each = entry(range.leaseholder->node)) ++each->leases;
  }
}

void Targets::index_domains() {
  std::map<Locality, std::size_t> known;
  for (Entry& each : entries_) each.domain = known.try_emplace(each.node->locality, known.size()).first->second;
  domains_.resize(known.size());
  for (std::size_t i = 0; i < entries_.size(); ++i)
    if (entries_[i].takes) domains_[entries_[i].domain].push_back(i);
  apart_.assign(known.size(), std::vector<std::uint8_t>(known.size()));
  for (const auto& [a, i] : known)
    for (const auto& [b, j] : known) apart_[i][j] = static_cast<std::uint8_t>(std::min(255, distance(a, b)));
}

const Targets::Entry* Targets::entry(NodeId id) const {
  const auto it = at_.find(id);
  return it == at_.end() ? nullptr : &entries_[it->second];
}
Targets::Entry* Targets::entry(NodeId id) {
  const auto it = at_.find(id);
  return it == at_.end() ? nullptr : &entries_[it->second];
}

void Targets::reserve(NodeId node, std::uint64_t bytes) {
  Entry* each = entry(node);
  if (each == nullptr) return;
  ++each->replicas, ++each->building;
  if (!bugs_.moves_not_counted) each->reserved += bytes;
}

void Targets::release(NodeId node, std::uint64_t bytes) {
  Entry* each = entry(node);
  if (each == nullptr) return;
  --each->replicas, --each->building;
  each->reserved -= std::min(each->reserved, bytes);
}

std::optional<std::uint64_t> Targets::room(NodeId id) const {
  const Entry* each = entry(id);
  if (each == nullptr || !each->node->disk.known()) return std::nullopt;
  const Disk& disk = each->node->disk;
  const auto kept = static_cast<std::uint64_t>(static_cast<double>(disk.capacity_bytes) * rules_.disk_free);
  const std::uint64_t spoken_for = kept + each->reserved;
  return disk.available_bytes - std::min(disk.available_bytes, spoken_for);
}

bool Targets::fits(const Entry& each, std::uint64_t bytes) const {
  const auto left = room(each.node->id);
  return !left || *left >= bytes;
}

/// The range stood in more failure domains before the move than it would after it.
bool Targets::loses_domain(std::size_t domain, NodeId replaced, std::span<const NodeId> others) const {
  const Entry* old = entry(replaced);
  if (old == nullptr || old->domain == domain) return false;
  const auto stands_in = [&](std::size_t which) {
    return std::ranges::any_of(others, [&](NodeId id) {
      const Entry* other = entry(id);
      return other != nullptr && other->domain == which;
    });
  };
  return !stands_in(old->domain) && stands_in(domain);
}

int Targets::apart(std::size_t domain, std::span<const NodeId> others) const {
  int sum = 0;
  for (const NodeId id : others)
    if (const Entry* other = entry(id)) sum += apart_[domain][other->domain];
  return sum;
}

int Targets::apart(NodeId id, std::span<const NodeId> others) const {
  const Entry* each = entry(id);
  return each == nullptr ? 0 : apart(each->domain, others);
}

int Targets::farthest(std::span<const NodeId> others) const {
  int most = 0;
  for (std::size_t domain = 0; domain < domains_.size(); ++domain)
    if (!domains_[domain].empty()) most = std::max(most, apart(domain, others));
  return most;
}

std::optional<NodeId> Targets::choose(const RangeView& range, NodeId replaced, std::span<const NodeId> others,
                                      Random& random, const Accepts& accepts) const {
  std::vector<std::pair<int, std::size_t>> order;  // farthest from the others first
  for (std::size_t domain = 0; domain < domains_.size(); ++domain) {
    if (domains_[domain].empty() || (rules_.keep_domains && loses_domain(domain, replaced, others))) continue;
    order.emplace_back(-apart(domain, others), domain);
  }
  std::ranges::sort(order);
  const auto able = [&](const Entry& each) {
    return range.find(each.node->id) == nullptr && std::ranges::find(others, each.node->id) == others.end() &&
           (rules_.per_target == 0 || each.building < static_cast<int>(rules_.per_target)) && fits(each, range.bytes) &&
           (!accepts || accepts(each.node->id));
  };
  const auto better = [&](const Entry& a, const Entry& b) {
    if (rules_.selector == Selector::kRoom && room(a.node->id) != room(b.node->id))
      return room(a.node->id) > room(b.node->id);
    return std::tie(a.replicas, a.node->id) < std::tie(b.replicas, b.node->id);
  };
  for (std::size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    while (end < order.size() && order[end].first == order[begin].first) ++end;
    std::vector<std::size_t> equal;
    for (std::size_t i = begin; i < end; ++i)
      equal.insert(equal.end(), domains_[order[i].second].begin(), domains_[order[i].second].end());
    const std::size_t start = rules_.selector == Selector::kGood ? random.below(equal.size()) : 0;
    const Entry* found = nullptr;
    for (std::size_t i = 0; i < equal.size(); ++i) {
      const Entry& each = entries_[equal[(start + i) % equal.size()]];
      if (!able(each) || (found != nullptr && !better(each, *found))) continue;
      found = &each;
      if (rules_.selector == Selector::kGood) break;
    }
    if (found != nullptr) return found->node->id;
  }
  return std::nullopt;
}

Targets::Shortage Targets::shortage(const RangeView& range, NodeId replaced, std::span<const NodeId> others) const {
  Shortage out;
  for (const Entry& each : entries_) {
    if (each.leaves || each.node->health != NodeView::Health::kLive || each.node->membership != Membership::kActive ||
        !each.node->backend)
      continue;
    ++out.live;
    if (range.find(each.node->id) != nullptr || std::ranges::find(others, each.node->id) != others.end())
      ++out.taken;
    else if (!each.takes)
      ++out.resting;
    else if (rules_.keep_domains && loses_domain(each.domain, replaced, others))
      ++out.domain;
    else if (!fits(each, range.bytes))
      ++out.no_space;
  }
  return out;
}

const NodeView* Targets::find(NodeId id) const {
  const Entry* each = entry(id);
  return each == nullptr ? nullptr : each->node;
}
bool Targets::leaving(NodeId id) const {
  const Entry* each = entry(id);
  return each != nullptr && each->leaves;
}
int Targets::replicas(NodeId id) const {
  const Entry* each = entry(id);
  return each == nullptr ? 0 : each->replicas;
}
int Targets::leases(NodeId id) const {
  const Entry* each = entry(id);
  return each == nullptr ? 0 : each->leases;
}
int Targets::building(NodeId id) const {
  const Entry* each = entry(id);
  return each == nullptr ? 0 : each->building;
}
void Targets::move_lease(NodeId from, NodeId to) {
  if (Entry* each = entry(from)) --each->leases;
  if (Entry* each = entry(to)) ++each->leases;
}

}  // namespace outlast::placement
