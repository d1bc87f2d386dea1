#pragma once
#include <set>
#include <string>

#include "cli/table.h"
#include "proto/peer.pb.h"

namespace outlast::cli {

// What people read of a decommission. All pure.

/// "id | is_live | replicas | is_decommissioning | membership | is_draining": the table that scripts know.
Table decommission_table(const proto::TaskStatus& task, const std::set<std::uint32_t>& nodes);
Table decommission_table(const proto::NodeStatusReply& cluster, const std::set<std::uint32_t>& nodes);
/// The same with readiness and blocking_ranges.
Table readiness_table(const proto::DecommissionReply& reply);

/// Below the table: replicas and bytes left, rate, time left with its lower bound, what limits it; then a line for each
/// node that waits for something of its own.
std::string decommission_progress(const proto::TaskStatus& task);
/// Why nothing moves, with the ranges. Empty while something does.
std::string decommission_stall(const proto::TaskStatus& task);
/// After a dry run: how much would be copied, if it may begin.
std::string decommission_plan(const proto::Preflight& preflight);
/// After the end: what it took, and what may be lost.
std::string decommission_receipt(const proto::TaskStatus& task, const std::set<std::uint32_t>& nodes);

/// "node 4", "nodes 4, 5".
std::string nodes_text(const std::set<std::uint32_t>& nodes);
/// "4 5", as on the command line.
std::string node_words(const std::set<std::uint32_t>& nodes);
/// Whole seconds from ten seconds on: "2m8s", "3.4s".
std::string time_left(std::uint64_t ms);

}  // namespace outlast::cli
