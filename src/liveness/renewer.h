#pragma once
#include <cstdint>
#include <optional>

#include "base/loop.h"
#include "liveness/params.h"

namespace outlast::liveness {

/// Decides when this incarnation renews its liveness record and until when it may answer fast reads (protocol A1,
/// A2.1). One renewal is under way at a time. The lease is counted from the *sending* of the last confirmed renewal:
/// an observer may have received it at that very instant and starts its own clock then.
/// Once fenced it stays so for ever.
/// Thread-safety: none; lives on the node's Loop. Reads no clock: `now` must not go back.
class Renewer {
 public:
  /// Bugs that tests plant to see that they are found.
  struct PlantedBugs {
    bool deadline_from_answer = false;  ///< The lease is counted from the answer, not from the send.
  };
  explicit Renewer(Params params) : params_(params) {}
  Renewer(Params params, PlantedBugs bugs) : params_(params), bugs_(bugs) {}

  /// May a renewal be sent now?
  bool is_due(Instant now) const { return !fenced_ && !sent_at_ && now >= next_at_; }
  /// When is_due() may next become true.
  Instant next_at() const { return next_at_; }
  /// A renewal leaves now. Returns the sequence number to write: higher than any sent before.
  /// Precondition: none is under way and not fenced.
  std::uint64_t send(Instant now);
  bool is_under_way() const { return sent_at_.has_value(); }
  std::uint64_t last_sequence() const { return sequence_; }

  /// The renewal under way is stored. `jitter` in [0, 1) spreads the next ones of many nodes.
  void confirm(Instant now, double jitter);
  /// The renewal under way certainly was not stored (or its fate is known to be "no" after reading back): try again
  /// soon, the lease stays what it was.
  void fail(Instant now, double jitter);
  /// What the record says has changed: the next renewal goes out as soon as none is under way.
  void hurry(Instant now) { next_at_ = now; }
  /// The store says that this incarnation is finished, or it fenced itself.
  void fence();

  bool is_fenced() const { return fenced_; }
  /// Fast reads are allowed strictly before this instant; the zero Instant when never confirmed or fenced.
  Instant lease_deadline() const { return deadline_; }
  /// New times for renewals sent from now on. The record carries the ttl it was sent with, observers wait that long
  /// whatever their own setting says, and sending a shorter one cuts the lease at once: no moment of a change lets two
  /// incarnations read.
  void set_params(Params params) { params_ = params; }
  /// The ttl to write into the record being sent.
  Duration ttl() const { return params_.ttl; }

 private:
  Params params_;
  PlantedBugs bugs_;
  Duration lease_sent_{};  ///< Of the renewal under way.
  std::uint64_t sequence_{0};
  std::optional<Instant> sent_at_;
  Instant next_at_{};
  Instant deadline_{};
  bool fenced_{false};
};

}  // namespace outlast::liveness
