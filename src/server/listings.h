#pragma once
#include <vector>

#include "gateway/listing.h"
#include "proto/peer.pb.h"

namespace outlast::server {

// Rows of SHOW NODES, RANGES and TASKS, in the columns of gateway::listing_columns().

std::vector<gateway::ListingRow> listing_rows(const proto::NodeStatusReply& nodes);
std::vector<gateway::ListingRow> listing_rows(const proto::RangesReply& ranges);
/// What only the leader frontend knows is null in a task whose progress nobody told.
std::vector<gateway::ListingRow> listing_rows(const proto::TasksReply& tasks);

}  // namespace outlast::server
