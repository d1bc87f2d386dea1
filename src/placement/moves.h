#pragma once
#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "placement/targets.h"

namespace outlast::placement {

struct Move {
  RangeId range;
  NodeId from;
  NodeId to;  ///< None: enough others have the range.
  std::uint64_t bytes{0};
  friend bool operator==(const Move&, const Move&) = default;
};

/// Why a replica cannot leave its node.
enum class BlockReason : std::uint8_t {
  kNotEnoughNodes,  ///< Every node that could take it has the range already.
  kDiskSpace,       ///< Nodes are there, and their disks are too full.
  kFailureDomain,   ///< The range would lose a failure domain, and that was forbidden.
  kUnavailable,     ///< Too few of its in-sync replicas answer.
  kNoLeaseholder,   ///< Nobody leads it at present, or its leaseholder is silent.
  kRefused,         ///< Its leaseholder or the new node refused the last step; another way is tried.
  kCopying,         ///< The copy is under way.
  kQueued,          ///< A limit of moves at once holds it back.
  kSilentMember,    ///< Enough replicas stay, but one of them does not answer.
  kDeletion,        ///< It left the range, and its data is not known to be deleted.
};
std::string_view to_string(BlockReason reason);

BlockReason reason_of(const Targets::Shortage& lack);
/// The seed's sentence, and what the seed does not look at. `voters` and `learners`: what the range has besides.
std::string explain(const Targets::Shortage& lack, std::size_t voters, std::size_t learners);

struct BlockedReplica {
  RangeId range;
  NodeId node;
  BlockReason reason{BlockReason::kNotEnoughNodes};
  std::string error;  ///< In the words of seed 003; equal ones are one group.
  std::uint64_t bytes{0};
};

/// The smallest thing that makes a plan possible, as far as it is known: one of these, or the first two joined by "or".
struct Remedy {
  int add_nodes{0};
  Locality add_where;          ///< Empty: anywhere.
  std::uint64_t add_bytes{0};  ///< Free space that each new node needs.
  NodeId free_on;              ///< An existing node that could take everything with so much more space.
  std::uint64_t free_bytes{0};
  std::vector<NodeId> undrain;  ///< With these taking replicas again nothing is blocked.
  std::vector<RangeId> revive;  ///< Ranges that need a silent node back before anything else.
  bool empty() const { return add_nodes == 0 && undrain.empty() && revive.empty(); }
};
/// "add 1 node in zone b with 1.2 GiB free".
std::string to_string(const Remedy& remedy);

struct MovePlan {
  std::vector<Move> moves;
  /// Replication factors that are reduced because too few nodes stay: `from` leaves and nothing comes.
  std::vector<Move> reductions;
  std::vector<BlockedReplica> blocked;
  Remedy fix;
  std::uint64_t bytes{0};  ///< To be copied.
  /// Moves that copy something; the others only take a replica away.
  std::size_t copies() const {
    return static_cast<std::size_t>(std::ranges::count_if(moves, [](const Move& one) { return one.to != NodeId(); }));
  }
};

/// Where every replica of the leaving nodes goes, for all of them at once, each choice counting the earlier ones. Tries
/// the selector of `rules` first, and when disks are too full for that, the largest ranges and the emptiest disks
/// first. Time is linear in the ranges; only those with a replica on a leaving node cost more than a look.
MovePlan plan_moves(const ClusterView& view, std::span<const NodeId> leaving, const TargetRules& rules, Random& random);

}  // namespace outlast::placement
