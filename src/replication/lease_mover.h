#pragma once
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "base/ids.h"
#include "base/loop.h"
#include "base/result.h"

namespace outlast::replication {

/// What to do with all leases of a node (protocol A7).
struct LeaseTransferOptions {
  std::optional<NodeId> to;              ///< Only there; else to the least loaded in-sync member of each range.
  std::set<NodeId> avoid;                ///< Get no lease: draining, decommissioning, …
  std::set<RangeId> keep;                ///< Stay for now, and are not counted.
  std::map<NodeId, std::size_t> leases;  ///< Held by each node when this begins: the load that is evened out.
  std::size_t at_once{32};               ///< Transfers under way.
};
struct LeaseNotMoved {
  RangeId range;
  NodeId target;  ///< The last one tried; 0 when there was none.
  Error why;
};
struct LeaseTransferProgress {
  std::size_t moved{0}, remaining{0};
  std::vector<LeaseNotMoved> failed;
};

/// Moves leases away from this node: the hottest first, at most `at_once` at a time, each to the least loaded node that
/// may have it; after a failure to the next one, and named when all were tried. Pure but for its ports.
/// Thread-safety: loop only. Lifetime: shared with the transfers under way.
class LeaseMover : public std::enable_shared_from_this<LeaseMover> {
 public:
  struct Lease {
    RangeId range;
    double heat{0};  ///< Statements a second.
  };
  struct Ports {
    /// The in-sync members of the range that could lead it at once; none when this node does not lead it any more.
    std::function<std::optional<std::vector<NodeId>>(RangeId)> targets;
    /// kMoving: another move was under way and has ended; where the lease is now is looked up again.
    std::function<void(RangeId, NodeId, Callback<void>)> transfer;
    std::function<void(Task)> post;  ///< Run soon, not from within what calls back now; dropped when the node ends.
  };
  /// `done` is called once: when no lease is left to move, or at stop().
  LeaseMover(std::vector<Lease> leases, LeaseTransferOptions options, Ports ports,
             Callback<LeaseTransferProgress> done);

  void start() { step(); }
  /// Begins no further transfer and waits for none: those under way count as remaining.
  void stop();
  const LeaseTransferProgress& progress() const { return progress_; }

 private:
  struct Waiting {
    RangeId range;
    std::set<NodeId> tried;
    std::optional<LeaseNotMoved> last;
  };
  void step();
  void take(Waiting lease);
  std::optional<NodeId> choose(const std::vector<NodeId>& targets, const std::set<NodeId>& tried) const;
  void ended(Waiting lease, NodeId target, const Result<void>& result);

  LeaseTransferOptions options_;
  const Ports ports_;
  Callback<LeaseTransferProgress> done_;
  std::deque<Waiting> waiting_;
  std::size_t moving_{0};
  LeaseTransferProgress progress_;
};

}  // namespace outlast::replication
