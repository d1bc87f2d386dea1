#pragma once
#include <compare>
#include <cstdint>
#include <string>

#include "base/ids.h"
#include "base/loop.h"
#include "base/result.h"

namespace outlast::liveness {

/// One worker process of one node: what is live, suspect or fenced (protocol A1). Never a node as a whole.
struct Peer {
  NodeId node;
  Incarnation incarnation;
  friend constexpr auto operator<=>(const Peer&, const Peer&) = default;
  std::string to_string() const { return node.to_string() + "/" + incarnation.to_string(); }
};

/// The numbers of protocol A1. All of them are times on BootClock; wall clocks are never used.
struct Params {
  Duration renew{std::chrono::seconds(1)};  ///< Pause between renewals; <= ttl / 4.
  Duration ttl{std::chrono::seconds(5)};    ///< Silence after which an incarnation may be fenced.
  double drift{0.05};                       ///< Assumed bound on the difference of clock rates; [0, 0.2].
  Duration follower_wait{std::chrono::milliseconds(200)};  ///< Others fence this much later than the leader frontend.

  /// Errors: kInvalidArgument with the rule that is broken.
  Result<void> validate() const;
  /// How long after the *sending* of a confirmed renewal its sender may answer fast reads: ttl * (1 - 2 * drift).
  Duration lease() const;
  /// Silence after which a peer is suspect.
  Duration suspect_after() const { return 2 * renew; }
};

}  // namespace outlast::liveness
