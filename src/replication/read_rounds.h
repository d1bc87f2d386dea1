#pragma once
#include <set>
#include <vector>

#include "base/loop.h"
#include "replication/member.h"

namespace outlast::replication {

/// Reads that wait until the other members of S said "still your epoch" (protocol A4.6 b). One round trip serves all
/// reads that had taken their snapshot when it began; those that come later wait for the next one, because an answer
/// may be older than their snapshot. Pure: the owner sends the questions and calls the readers back.
class ReadRounds {
 public:
  using Reads = std::vector<Callback<void>>;

  bool running() const { return !reads_.empty(); }
  std::uint64_t number() const { return number_; }
  Instant since() const { return since_; }
  bool answered(NodeId node) const { return answered_.contains(node); }

  /// Begins a round for these reads. `assigned`: the highest LSN given to a commit by now. Precondition: none runs.
  void begin(Reads reads, Lsn assigned, Instant now) {
    OUTLAST_ASSERT(!running() && !reads.empty(), "one round of reads at a time");
    reads_ = std::move(reads);
    assigned_ = assigned;
    since_ = now;
    answered_.clear();
    ++number_;
  }
  /// `node` was still in this epoch when it got the question of round `number`.
  void answer(NodeId node, std::uint64_t number) {
    if (running() && number == number_) answered_.insert(node);
  }
  /// All members that commits need answered; or a commit is durable that was made after the round began: then each of
  /// them acknowledged something since.
  bool confirmed(const std::map<NodeId, Member>& members, const std::optional<NodeId>& promoting, Lsn durable) const {
    if (durable > assigned_) return true;
    for (const auto& [node, member] : members)
      if ((member.voter || promoting == node) && !answered_.contains(node)) return false;
    return true;
  }
  /// Ends the round.
  Reads take() { return std::exchange(reads_, {}); }

 private:
  Reads reads_;
  std::uint64_t number_{0};
  Lsn assigned_;
  Instant since_{};
  std::set<NodeId> answered_;
};

}  // namespace outlast::replication
