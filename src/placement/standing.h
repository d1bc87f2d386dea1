#pragma once
#include <vector>

#include "placement/targets.h"

namespace outlast::placement {

/// How a range stands towards the nodes that leave. The sets of a range are small: recomputed whenever it is asked for.
struct Standing {
  Standing(const RangeView& range, const Targets& targets);

  std::vector<NodeId> stay;            ///< In-sync members that stay; a silent one may come back.
  std::vector<NodeId> coming;          ///< Learners that stay and are being built, on nodes that may take replicas.
  std::vector<NodeId> leave;           ///< In-sync members on leaving nodes.
  std::vector<NodeId> leave_learners;  ///< Learners on leaving nodes.
  std::vector<NodeId> lost_learners;   ///< Learners on other nodes that will not finish: dead, draining, wiped.
  std::size_t stay_live{0};            ///< Of `stay`: on nodes that answer; draining ones count (design §5).
  std::size_t live{0};                 ///< Members of S on nodes that answer, leaving ones included.
  bool led{false};                     ///< The leaseholder's node answers.

  /// Whether the range has anything on a leaving node at all: a look, for the many that have not.
  static bool concerned(const RangeView& range, const Targets& targets);
  /// In-sync members besides the one that leaves next.
  std::size_t others() const { return stay.size() + leave.size() - (leave.empty() ? 0 : 1); }
  /// Members that stay, and those to be: what a new replica stands beside.
  std::vector<NodeId> beside() const;
};

}  // namespace outlast::placement
