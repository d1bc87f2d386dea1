#pragma once
#include <string>

#include "cli/table.h"
#include "proto/peer.pb.h"

namespace outlast::cli {

// Tables of `node status`. All pure.

Table status_table(const proto::NodeStatusReply& reply);
/// The columns of CockroachDB's `node status --decommission`, under the same names; `all` adds bytes, readiness and
/// blocking_ranges.
Table leaving_table(const proto::NodeStatusReply& reply, bool all);
/// "2026-01-31 12:00:00.07734", UTC.
std::string precise_time_text(std::int64_t micros);

}  // namespace outlast::cli
