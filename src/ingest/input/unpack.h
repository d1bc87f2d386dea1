#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace outlast::ingest {

enum class Packing : std::uint8_t { kNone, kGzip, kZstd };

/// The bytes that were packed; gzip members and zstd frames one after another too. kTooLarge as soon as they are more
/// than `most`, whatever the header says; kInvalidArgument when it is no such data or ends early.
Result<std::string> unpack(Packing packing, std::string_view packed, std::size_t most);

}  // namespace outlast::ingest
