#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "base/loop.h"
#include "liveness/params.h"

namespace outlast::liveness {

enum class State : std::uint8_t {
  kUnknown,  ///< No liveness record and no fence was seen.
  kLive,
  kSuspect,  ///< No renewal for 2 x renew.
  kFenced,   ///< Finished for ever.
};
const char* to_string(State state);

/// Watches the liveness records of all other incarnations with timers of its own and says who may be fenced
/// (protocol A1, A2.2). An incarnation may be fenced when, on this node's clock,
///   1. its record did not change for ttl, counted from when this node *received* the last change, and
///   2. this node's own metadata session has been up without interruption for ttl: else everybody would fence
///      everybody when metadata returns. A pause of this process counts as an interruption too: what changed
///      meanwhile may still wait to be read.
/// Nodes other than the leader frontend wait follower_wait longer. The fence itself compares the record's revision, so
/// a lagging watch cannot fence wrongly; these clauses keep the stampede and the needless fence away.
/// Thread-safety: none; lives on the node's Loop. Reads no clock: `now` must not go back.
class Observer {
 public:
  /// Bugs that tests plant to see that they are found.
  struct PlantedBugs {
    bool timer_kept = false;  ///< The return of the metadata restarts no timer (clause 2).
  };
  struct Fence {
    Peer peer;
    Revision seen;  ///< mod_revision of the record that did not change.
  };

  /// `self` is never offered for fencing. The session counts as down until on_connection(true).
  Observer(Params params, std::optional<Peer> self) : params_(params), self_(self) {}
  Observer(Params params, std::optional<Peer> self, PlantedBugs bugs) : params_(params), self_(self), bugs_(bugs) {}

  /// A record as the watch tells it, in resets and events. Only a new revision restarts the peer's timer: seeing the
  /// same record again after a reset does not. `promised_ttl` is what the record says; the longer of it and our own
  /// counts, so that changing liveness.ttl is safe.
  void on_record(Peer peer, Revision mod_revision, Duration promised_ttl, Instant now);
  /// The record is gone: its peer was cleaned away after its end.
  void on_removed(Peer peer);
  void on_fence(Peer peer);
  void on_connection(bool connected, Instant now);
  /// To be called at least every `renew`: a longer gap between two calls is taken as a pause of this process and
  /// restarts clause 2.
  void tick(Instant now);

  State state(Peer peer, Instant now) const;
  /// Who may be fenced now. Repeats itself until on_fence(), on_removed() or a new record.
  std::vector<Fence> may_fence(Instant now, bool is_leader_frontend) const;
  /// Peers with a record and no fence: those whose end would matter.
  std::vector<Fence> unfenced() const;
  void set_params(Params params) { params_ = params; }

 private:
  struct Seen {
    Revision mod_revision;  ///< 0: only a fence was seen.
    Instant changed_at{};   ///< Received, on this node's clock.
    Duration promised_ttl{};
    bool fenced{false};
  };
  Params params_;
  std::optional<Peer> self_;
  PlantedBugs bugs_;
  std::map<Peer, Seen> peers_;
  std::optional<Instant> session_since_;  ///< Unset while disconnected.
  std::optional<Instant> last_tick_;
};

}  // namespace outlast::liveness
