#pragma once
#include <cstdint>
#include <string_view>

namespace outlast::placement {

/// Belongs to the cluster and is durable; neither liveness nor drain.
enum class Membership : std::uint8_t { kActive, kDecommissioning, kDecommissioned };
std::string_view to_string(Membership membership);

}  // namespace outlast::placement
