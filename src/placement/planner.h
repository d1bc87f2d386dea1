#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "placement/range_config.h"

namespace outlast::placement {

/// A node as placement sees it.
struct NodeView {
  NodeId node;
  std::string store_uuid;
  bool live{false};             ///< Renews its liveness record, phase live: may receive replicas and leases.
  bool dead{false};             ///< Silent for server.time_until_store_dead: its replicas are replaced.
  bool draining{false};
  bool decommissioning{false};  ///< Or decommissioned.
  bool eligible() const { return live && !draining && !decommissioning; }
};
struct ClusterView {
  std::vector<NodeView> nodes;
  std::vector<RangeConfig> ranges;
  int rf_wanted{3};
};

/// One thing that a range's leaseholder is asked to do.
struct Step {
  enum class Kind : std::uint8_t { kAddReplica, kRemoveReplica, kTransferLease };
  Kind kind{Kind::kAddReplica};
  RangeId range;
  NodeId node;  ///< Where the replica is added or removed, or the lease goes.
  int rf{0};    ///< kAddReplica: the factor that the range reaches with it, at most.
  friend bool operator==(const Step&, const Step&) = default;
};

struct PlanLimits {
  std::size_t steps_max{32};     ///< In one plan.
  std::size_t transfers_max{8};  ///< Of leases, for balance only.
};

/// The next steps towards: every range has min(rf_wanted, eligible nodes) replicas on different nodes, none on a dead
/// node, spread evenly; and the leases are spread evenly over the in-sync members. At most one step a range; ranges
/// without a leaseholder are left alone. A plan is empty exactly when nothing is left to improve: applied again and
/// again it converges, because a lease or replica moves for balance only when the difference is 2 or more.
/// Pure. Cost: ranges × nodes.
std::vector<Step> plan(const ClusterView& view, const PlanLimits& limits = {});

}  // namespace outlast::placement
