#pragma once
#include <vector>

#include "gateway/listing.h"
#include "meta/mirrors.h"
#include "meta/partitioned.h"
#include "proto/peer.pb.h"

namespace outlast::server {

// Rows of SHOW NODES, RANGES, TASKS, PARTITIONS, FRONTENDS, BACKENDS and COMPUTE NODES, in the columns of
// gateway::listing_columns().

std::vector<gateway::ListingRow> listing_rows(const proto::NodeStatusReply& nodes);
/// Of the nodes with that role; a decommissioned one is none any more.
std::vector<gateway::ListingRow> frontend_rows(const proto::NodeStatusReply& nodes);
std::vector<gateway::ListingRow> backend_rows(const proto::NodeStatusReply& nodes);
std::vector<gateway::ListingRow> compute_node_rows(const proto::NodeStatusReply& nodes);
std::vector<gateway::ListingRow> listing_rows(const proto::RangesReply& ranges);
/// What only the leader frontend knows is null in a task whose progress nobody told.
std::vector<gateway::ListingRow> listing_rows(const proto::TasksReply& tasks);

/// One a partition, and one with nulls for a table that has none.
std::vector<gateway::ListingRow> listing_rows(const std::vector<meta::PartitionedMirror::EntryPtr>& tables,
                                              const meta::RangeMirror& ranges);

}  // namespace outlast::server
