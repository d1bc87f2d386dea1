#pragma once
#include <string>

#include "placement/range_config.h"
#include "proto/peer.pb.h"

namespace outlast::server {

/// The record as operators are shown it, without what only its leaseholder knows.
proto::RangeStatus range_status(const placement::RangeConfig& config, const std::string& database);

}  // namespace outlast::server
