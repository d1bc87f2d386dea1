#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "placement/view.h"

namespace outlast::placement {

/// One step that the leader frontend asks a range's leaseholder to take.
struct Step {
  enum class Kind : std::uint8_t {
    kAddReplica,
    kRemoveReplica,
    kTransferLease,
    kReduceReplication,  ///< `node` leaves and `rf` becomes smaller, in one change.
  } kind{Kind::kAddReplica};
  RangeId range;
  NodeId node;  ///< Where the replica comes or goes, or who gets the lease.
  int rf{0};    ///< Wanted replication factor of the range; 0 = as the leaseholder is configured.
  friend bool operator==(const Step&, const Step&) = default;
};

struct PlannerLimits {
  std::size_t steps_max{32};     ///< Per plan.
  std::size_t learners_max{16};  ///< Replicas being built at once in the whole cluster, planned ones included.
};

/// What to do next, at most one step per range; empty when everything is in its place. Asked again and again with fresh
/// views: nothing is remembered between plans. Order of urgency: lost replicas and missing ones, replicas too many,
/// leases off draining nodes, then failure domains, then evenness. New replicas come where they stand farthest from the
/// others (localities), of equal nodes where the fewest are. Moves for evenness begin only when the most and the least
/// loaded node differ by 2 or more, and no move brings replicas nearer to each other, so that repeating the plan never
/// moves anything back and forth.
/// Targets are always live, active and not draining, and their disks are good. Pure.
std::vector<Step> plan(const ClusterView& view, const PlannerLimits& limits = {});

}  // namespace outlast::placement
