#pragma once
#include <array>
#include <atomic>
#include <mutex>
#include <utility>

#include "base/result.h"
#include "lifecycle/ledger.h"

namespace outlast::lifecycle {

class Gate;

/// One piece of admitted work. Whoever holds it says how the work ended; a ticket that is destroyed without a word
/// counts as cancelled, because somebody dropped the work. Lifetime: may outlive the Gate's owner, not the Gate.
/// Thread-safety: none; may end on another thread than it began.
class Ticket {
 public:
  Ticket() = default;
  Ticket(Ticket&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)), kind_(other.kind_) {}
  Ticket& operator=(Ticket&& other) noexcept;
  ~Ticket() { end(Outcome::kCancelled); }
  /// Only the first call counts.
  void end(Outcome outcome);
  explicit operator bool() const { return gate_ != nullptr; }

 private:
  friend class Gate;
  Ticket(Gate* gate, WorkKind kind) : gate_(gate), kind_(kind) {}
  Gate* gate_{nullptr};
  WorkKind kind_{};
};

/// Admits or refuses work by kind and counts every end. The hot path takes no lock: each thread counts in one of a few
/// shards. Once close() has returned, no work of that kind is admitted any more, and ledger() counts all that was:
/// open() == 0 then means that none is left (the count never falls short of the truth).
///
/// Source: the "gate" and "ledger" of docs/glossary.md; counting in and out through two sums, ends read before
/// beginnings, is the classic way to read a sharded counter without stopping it.
/// Thread-safety: any thread. Lifetime: outlives its tickets.
class Gate {
 public:
  Gate();
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  /// A ticket, or the refusal that close() was given. The refusal is counted.
  Result<Ticket> admit(WorkKind kind);
  /// A ticket for work that another process admitted and that goes on here, whether `kind` is refused or not.
  Ticket take_over(WorkKind kind);
  /// Refuses `kind` from now on; its code says the SQLSTATE, HTTP and gRPC status and the retry advice. Replaces an
  /// earlier refusal.
  void close(WorkKind kind, Error refusal);
  void open(WorkKind kind);
  bool is_open(WorkKind kind) const;

  Ledger ledger() const;
  std::uint64_t open_work(WorkKind kind) const { return ledger().of(kind).open(); }

 private:
  friend class Ticket;
  struct Counts {
    std::atomic<std::uint64_t> admitted{0}, refused{0};
    std::array<std::atomic<std::uint64_t>, kOutcomes> ended{};
  };
  struct alignas(64) Shard {
    std::array<Counts, kWorkKinds> counts;
  };
  static constexpr std::size_t kShards = 16;

  Shard& mine();
  Error refusal_of(WorkKind kind) const;

  std::array<std::atomic<bool>, kWorkKinds> closed_{};
  mutable std::mutex mutex_;  ///< Of refusals_; never taken while a gate is open.
  std::array<Error, kWorkKinds> refusals_;
  std::array<Shard, kShards> shards_;
};

}  // namespace outlast::lifecycle
