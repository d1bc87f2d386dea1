#pragma once
#include <map>
#include <memory>

#include "base/ids.h"
#include "base/loop.h"

namespace outlast::replication {

/// What the snapshots that one node sends share: how many go at once, and how many bytes a second all together. Whose
/// turn is next: the target that receives the fewest, so that a slow one does not keep the others waiting; of those,
/// whoever came first. Large ones go two at a time, and with a low rate fewer go at once: together they would be no
/// faster, each would last longer, what comes behind each copy would come for all of them at the end, and more of what
/// was copied would be lost when an end of them dies. Thread-safety: loop only. Lifetime: callbacks that wait are
/// dropped with it.
class SnapshotLine : public std::enable_shared_from_this<SnapshotLine> {
 public:
  using Ticket = std::uint64_t;                                           ///< 0 is none.
  static constexpr std::uint64_t kRateOfOne = std::uint64_t{8} << 20;     ///< Two go at once however low the rate is,
  static constexpr std::uint64_t kBytesAtOnce = std::uint64_t{32} << 20;  ///< ... or however large they are.
  /// `rate`: bytes a second; 0: any.
  SnapshotLine(Loop& loop, int at_once, std::uint64_t rate = 0) : loop_(loop), at_once_(at_once), rate_(rate) {}

  /// `begin` runs on the loop when it is this one's turn, unless it left before. `bytes`: about so many will be sent.
  Ticket join(NodeId to, std::uint64_t bytes, Task begin);
  /// Everything was sent, and the receiver still works on it.
  void all_sent(Ticket ticket);
  void leave(Ticket ticket);
  bool waits(Ticket ticket) const { return waiting_.contains(ticket); }

  /// When so many bytes may leave; who asks has to send them then.
  Instant due(std::uint64_t bytes);
  /// What was promised at another rate does not count any more.
  void set_rate(std::uint64_t bytes_a_second);

 private:
  struct Turn {
    NodeId to;
    std::uint64_t bytes{0};
    Task begin;
  };
  void look_soon();
  void look();
  bool has_room() const;

  Loop& loop_;
  const int at_once_;
  std::uint64_t rate_;
  Ticket last_{0};
  std::map<Ticket, Turn> waiting_;
  struct Sending {
    NodeId to;
    std::uint64_t bytes{0};
  };
  std::map<Ticket, Sending> running_;
  bool looking_{false};
  Instant due_{};
};

}  // namespace outlast::replication
