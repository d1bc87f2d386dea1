#pragma once
#include <span>
#include <string>
#include <vector>

#include "placement/moves.h"

namespace outlast::placement {

/// `outlast node decommission --checks=`.
enum class Checks : std::uint8_t {
  kEnabled,  ///< Every replica must have a place to go to.
  kStrict,   ///< And no range may be under-replicated or lose a failure domain, no last frontend or input may leave.
  kSkip,     ///< Begin whatever is found; it is told all the same.
};
Result<Checks> parse_checks(std::string_view text);
std::string_view to_string(Checks checks);

/// What is found before nodes are decommissioned, in the words and groups of seed 003.
struct Preflight {
  struct Node {
    NodeId node;
    std::string_view readiness;  ///< "ready", "allocation errors" or "already decommissioned".
    std::size_t replicas{0}, blocking_ranges{0};
  };
  struct Group {
    NodeId node;
    std::string error;
    std::vector<RangeId> ranges;  ///< Blocked with this error; each once.
    std::size_t replicas{0};
  };
  Checks checks{Checks::kEnabled};
  std::vector<Node> nodes;
  std::size_t ranges_checked{0};
  std::vector<Group> groups;
  std::vector<RangeId> unavailable, under_replicated;  ///< Of those with a replica on the nodes.
  std::vector<std::string> warnings;                   ///< Sentences.
  bool last_of_its_kind{false};                        ///< The last frontend or input would leave.
  MovePlan plan;

  bool may_begin() const;
  /// What stderr gets: the blocked groups, ranges in trouble, warnings, the fix, and "ERROR: Cannot decommission
  /// nodes." when it may not begin. Empty when there is nothing to say.
  std::string text() const;
};

/// kNotFound for a node that does not exist, kInvalidArgument when none is named. Nodes that are decommissioned already
/// are named as such and change nothing.
Result<Preflight> preflight(const ClusterView& view, std::span<const NodeId> nodes, Checks checks, TargetRules rules,
                            Random& random);

}  // namespace outlast::placement
