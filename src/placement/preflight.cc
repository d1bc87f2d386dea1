#include "placement/preflight.h"

#include <algorithm>
#include <map>
#include <set>

#include "placement/standing.h"

namespace outlast::placement {
namespace {

constexpr std::size_t kNamed = 5;  // ranges named in a line; more are counted

std::string names(const std::vector<RangeId>& ranges) {
  std::string out;
  for (std::size_t i = 0; i < std::min(kNamed, ranges.size()); ++i)
    out += (i == 0 ? "r" : ", r") + ranges[i].to_string();
  if (ranges.size() > kNamed) out += " and " + std::to_string(ranges.size() - kNamed) + " more";
  return out;
}

const NodeView* find(const ClusterView& view, NodeId id) {
  const auto it = std::ranges::find(view.nodes, id, &NodeView::id);
  return it == view.nodes.end() ? nullptr : &*it;
}

/// Counts replicas, and finds the ranges in trouble.
void look_at_ranges(Preflight& out, const ClusterView& view, std::span<const NodeId> leaving,
                    const TargetRules& rules) {
  const Targets targets(view, leaving, rules);
  std::map<NodeId, std::size_t> replicas;
  for (const RangeView& range : view.ranges) {
    if (!Standing::concerned(range, targets)) continue;
    ++out.ranges_checked;
    const Standing standing(range, targets);
    for (const auto* nodes : {&standing.leave, &standing.leave_learners})
      for (const NodeId id : *nodes) ++replicas[id];
    if (static_cast<int>(standing.live) < range.min_insync)
      out.unavailable.push_back(range.range);
    else if (static_cast<int>(standing.live) < range.rf)
      out.under_replicated.push_back(range.range);
  }
  for (Preflight::Node& node : out.nodes) node.replicas = replicas[node.node];
}

void group(Preflight& out) {
  std::map<std::pair<NodeId, std::string>, Preflight::Group> groups;
  for (const BlockedReplica& each : out.plan.blocked) {
    Preflight::Group& one = groups[{each.node, each.error}];
    one.node = each.node, one.error = each.error;
    if (one.ranges.empty() || one.ranges.back() != each.range) one.ranges.push_back(each.range);
    ++one.replicas;
  }
  for (auto& [key, one] : groups) {
    for (Preflight::Node& node : out.nodes)
      if (node.node == one.node) node.blocking_ranges += one.ranges.size(), node.readiness = "allocation errors";
    out.groups.push_back(std::move(one));
  }
}

void warn_of_roles(Preflight& out, const ClusterView& view, const std::set<NodeId>& leaving) {
  bool frontend_stays = false, frontend_leaves = false, input_stays = false, input_leaves = false;
  for (const NodeView& node : view.nodes) {
    const bool leaves = leaving.contains(node.id);
    if (!leaves && !node.stays()) continue;
    (leaves ? frontend_leaves : frontend_stays) |= node.frontend;
    (leaves ? input_leaves : input_stays) |= node.inputs > 0;
    if (leaves && node.health == NodeView::Health::kDead)
      out.warnings.push_back("n" + node.id.to_string() +
                             " is dead: records in its ingest buffers that were not flushed are possibly lost");
  }
  if (frontend_leaves && !frontend_stays)
    out.warnings.push_back("the last frontend leaves: no client could connect; the decommission will not complete");
  if (input_leaves && !input_stays)
    out.warnings.push_back("the last ingest input leaves: no sender could deliver; the decommission will not complete");
  out.last_of_its_kind = (frontend_leaves && !frontend_stays) || (input_leaves && !input_stays);
}

}  // namespace

Result<Checks> parse_checks(std::string_view text) {
  for (const Checks each : {Checks::kEnabled, Checks::kStrict, Checks::kSkip})
    if (to_string(each) == text) return each;
  return Error(Errc::kInvalidArgument, "--checks is enabled, strict or skip, not \"" + std::string(text) + "\"");
}

std::string_view to_string(Checks checks) {
  switch (checks) {
    case Checks::kEnabled:
      return "enabled";
    case Checks::kStrict:
      return "strict";
    case Checks::kSkip:
      return "skip";
  }
  return "enabled";
}

bool Preflight::may_begin() const {
  if (checks == Checks::kSkip) return true;
  if (!groups.empty()) return false;
  return checks == Checks::kEnabled || (under_replicated.empty() && unavailable.empty() && !last_of_its_kind);
}

std::string Preflight::text() const {
  std::string out;
  if (!groups.empty()) out += "ranges blocking decommission detected\n";
  for (const Group& each : groups)
    out += "n" + each.node.to_string() + " has " + std::to_string(each.replicas) + " replicas blocked with error: \"" +
           each.error + "\"\n";
  if (!unavailable.empty()) out += "unavailable ranges: " + names(unavailable) + "\n";
  if (!under_replicated.empty()) out += "under-replicated ranges: " + names(under_replicated) + "\n";
  for (const std::string& each : warnings) out += "warning: " + each + "\n";
  if (!plan.fix.empty()) out += "fix: " + to_string(plan.fix) + "\n";
  if (!may_begin()) out += "ERROR: Cannot decommission nodes.\n";
  return out;
}

Result<Preflight> preflight(const ClusterView& view, std::span<const NodeId> nodes, Checks checks, TargetRules rules,
                            Random& random) {
  if (nodes.empty()) return Error(Errc::kInvalidArgument, "name the nodes to decommission");
  Preflight out;
  out.checks = checks;
  std::vector<NodeId> leaving;
  for (const NodeId id : nodes) {
    const NodeView* node = find(view, id);
    if (node == nullptr)
      return Error(Errc::kNotFound, "there is no node " + id.to_string() + "; `outlast node ls` lists them");
    if (std::ranges::find(out.nodes, id, &Preflight::Node::node) != out.nodes.end()) continue;
    const bool gone = node->membership == Membership::kDecommissioned;
    out.nodes.push_back({id, gone ? "already decommissioned" : "ready", 0, 0});
    if (!gone) leaving.push_back(id);
  }
  // Those that leave already are no place to go to, and take places themselves.
  std::vector<NodeId> all = leaving;
  for (const NodeView& node : view.nodes)
    if (node.membership == Membership::kDecommissioning && std::ranges::find(all, node.id) == all.end())
      all.push_back(node.id);
  rules.keep_domains |= checks == Checks::kStrict;
  look_at_ranges(out, view, leaving, rules);
  out.plan = plan_moves(view, all, rules, random);
  std::erase_if(out.plan.blocked,
                [&](const BlockedReplica& each) { return std::ranges::find(leaving, each.node) == leaving.end(); });
  if (out.plan.blocked.empty()) out.plan.fix = {};
  group(out);
  warn_of_roles(out, view, {leaving.begin(), leaving.end()});
  return out;
}

}  // namespace outlast::placement
