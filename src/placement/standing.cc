#include "placement/standing.h"

#include <algorithm>

namespace outlast::placement {
namespace {

bool live(const NodeView* node) {
  return node != nullptr && node->health == NodeView::Health::kLive;
}
/// The replica will not come back: its node is dead or unknown, or its store was replaced.
bool lost(const NodeView* node, const ReplicaRef& ref) {
  return node == nullptr || node->health == NodeView::Health::kDead ||
         (!node->store_uuid.empty() && node->store_uuid != ref.store_uuid);
}

}  // namespace

Standing::Standing(const RangeView& range, const Targets& targets) {
  for (const ReplicaRef& ref : range.insync) {
    const NodeView* node = targets.find(ref.node);
    const bool gone = lost(node, ref);
    if (placement::live(node) && !gone) ++live;
    if (targets.leaving(ref.node)) {
      leave.push_back(ref.node);
    } else if (!gone) {
      stay.push_back(ref.node);
      if (placement::live(node)) ++stay_live;
    }
  }
  for (const ReplicaRef& ref : range.learners) {
    const NodeView* node = targets.find(ref.node);
    if (targets.leaving(ref.node))
      leave_learners.push_back(ref.node);
    else if (lost(node, ref) || !node->counts() || node->draining)
      lost_learners.push_back(ref.node);
    else
      coming.push_back(ref.node);
  }
  led = range.leaseholder && placement::live(targets.find(range.leaseholder->node));
}

bool Standing::concerned(const RangeView& range, const Targets& targets) {
  const auto leaves = [&](const ReplicaRef& ref) { return targets.leaving(ref.node); };
  return std::ranges::any_of(range.insync, leaves) || std::ranges::any_of(range.learners, leaves);
}

std::vector<NodeId> Standing::beside() const {
  std::vector<NodeId> out = stay;
  out.insert(out.end(), coming.begin(), coming.end());
  return out;
}

}  // namespace outlast::placement
