#pragma once
#include <limits>
#include <string>
#include <vector>

#include "placement/view.h"

namespace outlast::placement {

/// Why a node may not stop together with the others of a set.
enum class StopReason : std::uint8_t {
  kNotLive,       ///< It does not answer: it has stopped already, or is about to be taken for dead.
  kNotInSync,     ///< A range of it lacks in-sync replicas that answer; waiting helps.
  kNoSpare,       ///< A range of it is complete and can still not do without any replica (replication factor 1 or 2).
  kLastFrontend,  ///< Nobody would be left to take clients, lead the cluster and write the metadata.
  kDomain,        ///< The others are of another failure domain.
  kShared,        ///< A range of it can do without one replica, and another node of the set has one, too.
  kLimit,         ///< It could, but no more were asked for.
};
std::string_view to_string(StopReason reason);

struct StopRules {
  static constexpr std::size_t kNoLimit = std::numeric_limits<std::size_t>::max();
  std::size_t max{kNoLimit};
  std::vector<NodeId> candidates;  ///< Empty: every node that belongs to the cluster.
  std::vector<NodeId> absent;      ///< Taken for stopped, whatever the view shows: they are being restarted.
};

struct StopSet {
  struct Left {
    NodeId node;
    StopReason reason{StopReason::kLimit};
    std::string why;  ///< A sentence.
    RangeId range;    ///< The first one that is in the way; none when it is not about ranges.
  };
  std::vector<NodeId> nodes;  ///< They may stop together now; in order of their ids.
  std::vector<Left> left;     ///< Every other candidate.
  bool largest{true};         ///< No larger set exists; else it is only the best that was found in the time.
  const Left* find_left(NodeId node) const;
};

/// The largest set of candidates that may stop together now: every range keeps min_insync members of S that answer and
/// do not drain, some node is left that takes clients and can be leader frontend, and all are of one failure domain, so
/// that what survives the loss of a domain survives this. A snapshot: another node may fail an instant later.
/// A range that has too few members already holds its nodes, and no others. Linear in the ranges, then a search that is
/// exact for the sizes that operators look at and bounded for others. Pure.
StopSet safe_to_stop(const ClusterView& view, const StopRules& rules = {});

}  // namespace outlast::placement
