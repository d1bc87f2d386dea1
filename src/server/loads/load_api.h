#pragma once
#include <functional>
#include <string>

#include "gateway/cluster.h"
#include "http/server.h"
#include "lifecycle/gate.h"

namespace outlast::server {

/// What the load routes ask of the node. Any thread.
struct LoadPorts {
  std::function<gateway::Cluster*()> cluster;  ///< Null while the node starts.
  std::function<std::string()> not_ready;      ///< Empty: loads are welcome. Else one sentence why not.
  std::function<Result<lifecycle::Ticket>()> admit;
  std::function<std::string()> elsewhere;           ///< HTTP address of another node that takes loads, or empty.
  std::function<std::string(NodeId)> http_address;  ///< Of a live node, or empty.
};

/// PUT /api/<database>/<table>/_stream_load, GET /api/<database>/_load_info?label=…,
/// POST /api/transaction/begin|prepare|commit|rollback, PUT /api/transaction/load: StarRocks' requests and answers.
/// docs/loads.md has them all.
void add_load_routes(http::Server& server, LoadPorts ports);

}  // namespace outlast::server
