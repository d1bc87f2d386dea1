#pragma once
#include <boost/json/object.hpp>
#include <string>

#include "base/result.h"
#include "proto/peer.pb.h"

namespace outlast::server {

/// STORE/DRAIN.json: how the store's last drain ended. Empty when there was none.
std::string read_receipt(const std::string& store);
Result<void> write_receipt(const std::string& store, const boost::json::object& receipt);

/// What one line of the OPS channel and of `node drain` counts: {"connections": 3, …, "total": 12}.
boost::json::object to_json(const proto::DrainStatus::Remaining& remaining);

}  // namespace outlast::server
