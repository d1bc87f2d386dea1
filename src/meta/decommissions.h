#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "liveness/params.h"
#include "meta/identity.h"
#include "placement/range_config.h"

namespace outlast::meta {

/// Whose order a change of a membership is: what is given must still hold in the transaction, else kMetaConflict.
struct Warrant {
  std::optional<Compare> office;  ///< Office::guard(): the caller still is the leader frontend.
  std::uint64_t task{0};          ///< The task that wants it,
  Revision task_mod;              ///< ... its record unchanged since the caller read it. Task 0: none is compared.
};
/// What is said of a change in its event, in seed 003's words: `Timestamp`, `EventType`, `RequestingNodeID`,
/// `TargetNodeID`.
struct MembershipChange {
  NodeId node;
  NodeId requested_by;  ///< The node that was asked by the operator.
  std::int64_t wall_micros{0};
};

// A membership is changed only here. All call back on the store's loop, recognise their own success after a lost
// answer, may be repeated after any error, and store an event with each change. Errors beside the store's: kNotFound
// for a node that does not exist.

/// Active to decommissioning, event "node_decommissioning". From then on no range can gain a replica there: whoever
/// adds one compares the node's record. kInvalidState for a decommissioned node.
void mark_decommissioning(Store& store, MembershipChange change, Warrant warrant, Callback<void> done);
/// Decommissioning to active, event "node_recommissioned". kInvalidState for a decommissioned node.
void unmark_decommissioning(Store& store, MembershipChange change, Warrant warrant, Callback<void> done);

/// The last step, which nothing undoes: decommissioning to decommissioned, event "node_decommissioned", and a fence for
/// every incarnation but the drained one, which writes its own. Everything is read at one instant, and the transaction
/// compares all of it that could change: the node's record (so no range gained a replica there since), its drain
/// record, its status, its counter of incarnations, their fences, the office. kInvalidState says what is left.
/// Of a node that drained: no range names it, not even among removed replicas; the drain of its newest process is
/// complete and was told that it leaves; its buffers are empty; it does not hold the office.
/// In absentia: no range has it in sync or as a learner, and every incarnation of it is fenced. What it last said of
/// its buffers is possibly lost: the event has `PossibleLossBytes`.
void finish_decommission(Store& store, MembershipChange change, bool in_absentia, Warrant warrant, Callback<void> done);

/// What finish_decommission looks at, all of one revision. Pure, for tests.
struct FinalFacts {
  Membership membership{Membership::kActive};
  std::optional<liveness::Peer> office;
  std::vector<placement::RangeConfig> ranges;
  std::vector<Incarnation> fenced, recorded;  ///< With a fence; with a liveness record. Ascending.
  std::optional<Incarnation> drained;         ///< Its drain is complete, inputs and buffers too.
  std::optional<Incarnation> reported;        ///< Whose status it is.
  std::uint64_t buffer_bytes{0};
};
/// kInvalidState with what is left to do.
Result<void> may_finish(const FinalFacts& facts, NodeId node, bool in_absentia);

}  // namespace outlast::meta
