#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "liveness/params.h"
#include "meta/mirror.h"

namespace outlast::meta {

/// /drain/<node>: this node's present process leaves service (protocol A7). Bound to the incarnation: a worker that is
/// started after a crash or a stop is not draining. Durable, so that everybody knows it before any lease could go back.
struct DrainRecord {
  liveness::Peer peer;
  std::int64_t since_micros{0};  ///< Wall clock, for display.
  std::string by;                ///< Who asked, for display: "signal", "node drain", …
  bool force{false};
  bool step_out{false};  ///< It holds no lease any more: leaseholders may go on without its replicas.
  bool drained{false};   ///< The drain is complete.
  bool leave{false};     ///< The node leaves for good: a complete drain has closed its inputs and flushed its buffers.
  friend bool operator==(const DrainRecord&, const DrainRecord&) = default;
};
std::string encode(const DrainRecord& record);
Result<DrainRecord> decode_drain_record(std::string_view text);

using DrainMirror = Mirror<DrainRecord>;
std::unique_ptr<DrainMirror> mirror_drains(Store& store);
/// The record, as this mirror knows it, if it speaks of this very process: then that one is draining.
DrainMirror::EntryPtr drain_of(const DrainMirror& drains, liveness::Peer peer);

// Both call back on the store's loop and may be repeated after any error.

/// Replaces whatever an earlier incarnation of the node left behind, and stores the event "node_draining" with it.
/// kFenced when the incarnation is finished.
void record_drain(Store& store, DrainRecord record, Callback<void> done);
/// Success when the node's record is gone or speaks of another incarnation; stores the event "node_undrained".
void erase_drain(Store& store, liveness::Peer peer, std::int64_t wall_micros, Callback<void> done);

}  // namespace outlast::meta
