#pragma once
#include <cstdint>
#include <functional>

#include "base/ids.h"
#include "base/loop.h"
#include "storage/commit_sink.h"

namespace outlast::replication {

/// Names one write for ever (protocol A5.6). gateway 0: nobody will ever ask for it.
struct RequestId {
  std::uint64_t gateway{0};   ///< The process that asks, see gateway_number.
  std::uint64_t sequence{0};  ///< Its own counter.
  explicit operator bool() const { return gateway != 0; }
  friend bool operator==(const RequestId&, const RequestId&) = default;
};
inline RequestId id_of(const storage::RequestOutcome& outcome) {
  return {outcome.gateway, outcome.sequence};
}

/// One number for a gateway's process: incarnations are counted for each node, so they alone do not name one.
constexpr std::uint64_t gateway_number(NodeId node, Incarnation incarnation) {
  return std::uint64_t{node.value} << 40 | incarnation.value;
}

/// RESOLVE: what became of this write?
struct RequestQuestion {
  RequestId id;
  Epoch addressed;  ///< The only epoch in which it can have been assigned an LSN.
  Lsn after;        ///< Known to be durable in that epoch before the request was sent; 0 = not known.
  Duration age{};   ///< Since it was sent, by the gateway's clock: a hint whether reading the log may help.
};

/// The leaseholder's answer.
struct RequestAnswer {
  enum class Kind : std::uint8_t {
    kApplied,  ///< Durable at `lsn`, with this outcome.
    kAbsent,   ///< It will never be applied from now on. Was it? See below.
  };
  Kind kind{Kind::kAbsent};
  Lsn lsn;
  storage::RequestOutcome outcome;
  /// kAbsent: certain that it was not applied before either. Else only requests that were sent less than `covered`
  /// before this answer arrived were certainly not: older ones may be forgotten.
  bool certain{false};
  Duration covered{};
};

/// The asker's verdict on kAbsent, by its own clock alone: `elapsed` from before the request was sent until after the
/// answer came. Both ends only measure durations; the tenth allows for clock rates that differ by up to 5 % (A1).
constexpr bool certainly_not_applied(const RequestAnswer& answer, Duration elapsed) {
  return answer.certain || elapsed < answer.covered / 10 * 9;
}

}  // namespace outlast::replication

template <>
struct std::hash<outlast::replication::RequestId> {
  std::size_t operator()(const outlast::replication::RequestId& id) const noexcept {
    return std::hash<std::uint64_t>{}(id.gateway * 0x9E3779B97F4A7C15ULL ^ id.sequence);
  }
};
