#pragma once
#include <boost/json/object.hpp>

#include "proto/peer.pb.h"

namespace outlast::server {

// What HTTP and the CLI's --format=json write: one meaning for both.

boost::json::object to_json(const proto::NodeStatus& node);
boost::json::object to_json(const proto::RangeStatus& range);
boost::json::object to_json(const proto::ReplicaState& replica);
/// The range with each replica as its node sees it, the nodes that did not answer, and the record.
boost::json::object to_json(const proto::RangeReply& range);
/// A drain or its receipt.
boost::json::object to_json(const proto::DrainStatus& drain);
/// A task, how far it is, and what it waits for.
boost::json::object to_json(const proto::TaskStatus& task);
/// What was found before nodes are decommissioned.
boost::json::object to_json(const proto::Preflight& preflight);
/// "2026-01-31 12:00:00", UTC.
std::string time_text(std::int64_t micros);

}  // namespace outlast::server
