#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/loop.h"
#include "base/result.h"

namespace outlast {

/// "8s", "1m30s", "250ms", "0", "1.5h", "-" refused. Units ns us ms s m h d; a bare number other than 0 is refused
/// because nobody can know its unit. Errors: kInvalidArgument with an example.
Result<Duration> parse_duration(std::string_view text);
/// "64MiB", "1.5GB", "4096" (bytes). Units B kB MB GB TB (1000) KiB MiB GiB TiB (1024).
Result<std::uint64_t> parse_bytes(std::string_view text);
Result<bool> parse_bool(std::string_view text);
Result<std::int64_t> parse_int(std::string_view text);

/// The shortest form that parse_duration reads back: "1m30s", "250ms", "0s".
std::string format_duration(Duration d);
/// "64 MiB", "1.5 GiB", "312 B": for people.
std::string format_bytes(std::uint64_t bytes);

}  // namespace outlast
