#pragma once
#include <string>

#include "base/result.h"

namespace outlast::server {

/// Sends the process's log to `file` (appended to; empty = stderr) with time, level and `who` ("supervisor", "worker").
/// Levels: trace debug info warn error critical off.
Result<void> open_log(const std::string& file, const std::string& level, const std::string& who);

}  // namespace outlast::server
