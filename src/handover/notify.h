#pragma once
#include <string>

#include "base/result.h"

namespace outlast::handover {

/// Tells the process manager, if there is one (NOTIFY_SOCKET): "READY=1", "STATUS=…", "EXTEND_TIMEOUT_USEC=…",
/// "STOPPING=1", one assignment a line; `passed` goes along (FDSTORE), -1: none. Success when nobody wants to know.
/// kUnavailable: the manager does not take it. Source: sd_notify(3), whose protocol is one datagram. Thread-safety: any
/// thread, as long as nobody sets environment variables.
Result<void> notify_manager(const std::string& state, int passed = -1);

}  // namespace outlast::handover
