#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/loop.h"
#include "base/result.h"

namespace outlast::meta {

/// What an incarnation may be given: kStandby routes and buffers but may not lead or hold replicas in the in-sync set
/// (A8); kLeaving gets nothing new.
enum class Phase : std::uint8_t { kStandby, kLive, kLeaving };
std::string_view to_string(Phase phase);

/// /live/<node>/<incarnation>.
struct LiveRecord {
  std::uint64_t sequence{0};  ///< +1 with every renewal.
  Phase phase{Phase::kStandby};
  std::string addr;  ///< Node-to-node address of this very process.
  Duration ttl{};    ///< What its writer counts its fast reads by; observers wait at least so long.
};
std::string encode(const LiveRecord& record);
Result<LiveRecord> decode_live_record(std::string_view text);

}  // namespace outlast::meta
