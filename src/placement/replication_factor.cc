#include "placement/replication_factor.h"

#include <algorithm>

namespace outlast::placement {
namespace {
constexpr int kFloor = 3;
}  // namespace

int affordable_replicas(int wanted, int nodes) {
  if (nodes >= wanted || nodes <= kFloor) return std::min(wanted, nodes);
  return nodes - (nodes % 2 == 0 ? 1 : 0);
}

int reduced_replicas(int rf, int nodes) {
  return std::max(affordable_replicas(rf, nodes), std::min(rf, kFloor));
}

Result<RangeConfig> reduce_replication(const RangeConfig& now, NodeId leave, int rf) {
  const auto refused = [&](const std::string& why) {
    return Error(Errc::kInvalidState, "range " + now.range.to_string() + ": " + why);
  };
  const ReplicaRef* ref = now.find_insync(leave);
  if (ref == nullptr) return refused("node " + leave.to_string() + " is not in sync");
  if (rf < kFloor || rf % 2 == 0 || rf >= now.rf)
    return refused(std::to_string(now.rf) + " replicas are not reduced to " + std::to_string(rf));
  if (now.leaseholder && now.leaseholder->node == leave)
    return refused("node " + leave.to_string() + " holds the lease; transfer it first");
  if (static_cast<int>(now.insync.size()) - 1 < rf)
    return refused("fewer than " + std::to_string(rf) + " in-sync replicas would stay");
  RangeConfig next = now;
  next.cfg = now.cfg.next();
  next.rf = rf;
  next.min_insync = min_insync_of(rf);
  next.removed.push_back(*ref);
  std::erase(next.insync, *next.find_insync(leave));
  return next;
}

}  // namespace outlast::placement
