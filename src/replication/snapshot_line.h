#pragma once
#include <map>
#include <memory>

#include "base/ids.h"
#include "base/loop.h"

namespace outlast::replication {

/// What the snapshots that one node sends share: how many go at once, and how many bytes a second all together. Whose
/// turn is next: the target that receives the fewest, so that a slow one does not keep the others waiting; of those,
/// whoever came first. Thread-safety: loop only. Lifetime: callbacks that wait are dropped with it.
class SnapshotLine : public std::enable_shared_from_this<SnapshotLine> {
 public:
  using Ticket = std::uint64_t;  ///< 0 is none.
  SnapshotLine(Loop& loop, int at_once) : loop_(loop), at_once_(at_once) {}

  /// `begin` runs on the loop when it is this one's turn, unless it left before.
  Ticket join(NodeId to, Task begin);
  void leave(Ticket ticket);
  bool waits(Ticket ticket) const { return waiting_.contains(ticket); }

  /// When so many bytes may leave, at `rate` bytes a second; who asks has to send them then. Rate 0: now.
  Instant due(std::uint64_t bytes, std::uint64_t rate);
  /// What was promised at another rate does not count any more.
  void rate_changed() { due_ = loop_.now(); }

 private:
  struct Turn {
    NodeId to;
    Task begin;
  };
  void look_soon();
  void look();

  Loop& loop_;
  const int at_once_;
  Ticket last_{0};
  std::map<Ticket, Turn> waiting_;
  std::map<Ticket, NodeId> running_;
  bool looking_{false};
  Instant due_{};
};

}  // namespace outlast::replication
