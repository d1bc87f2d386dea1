#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "liveness/params.h"
#include "meta/mirror.h"
#include "placement/view.h"

namespace outlast::meta {

/// /status/<node>: what a node's process last said of its disk and its inputs. It stays when the node is gone: then it
/// is all that is known of it.
struct NodeStatusRecord {
  liveness::Peer peer;
  placement::Disk disk;
  std::uint32_t inputs{0};         ///< Inputs of ingest that are configured,
  std::uint32_t inputs_open{0};    ///< ... and those that take records now.
  std::uint64_t buffer_bytes{0};   ///< In ingest buffers, not flushed.
  std::int64_t written_micros{0};  ///< Wall clock, for display.
  friend bool operator==(const NodeStatusRecord&, const NodeStatusRecord&) = default;
};
std::string encode(const NodeStatusRecord& record);
Result<NodeStatusRecord> decode_node_status(std::string_view text);

using NodeStatusMirror = Mirror<NodeStatusRecord>;
std::unique_ptr<NodeStatusMirror> mirror_node_statuses(Store& store);

/// Does it say enough that is new to be written? Disk by 1 % of its capacity or 64 MiB, buffers from and to nothing or
/// by a factor of two, inputs, another process.
bool is_notable(const NodeStatusRecord& written, const NodeStatusRecord& now);
/// kFenced when the incarnation is finished, or a later one wrote already. Calls back on the store's loop.
void write_node_status(Store& store, NodeStatusRecord record, Callback<void> done);

}  // namespace outlast::meta
