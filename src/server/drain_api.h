#pragma once
#include <functional>
#include <string>

#include "base/loop.h"
#include "http/server.h"
#include "proto/peer.pb.h"

namespace outlast::server {

/// Any thread.
struct DrainPorts {
  std::function<void(proto::DrainRequest, Callback<proto::DrainStatus>)> drain;
  std::function<std::string()> not_ready;  ///< Empty: ready. Else one sentence why not.
};

/// GET /api/drain: the drain under way, and the last receipt. POST /api/drain?action=drain|undrain|dry-run
/// [&force=1][&shutdown=1][&deadline=60s][&by=WHO]. GET /api/health: 200, or 500 from a drain's first instant on.
void add_drain_routes(http::Server& server, DrainPorts ports);

}  // namespace outlast::server
