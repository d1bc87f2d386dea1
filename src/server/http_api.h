#pragma once
#include <functional>
#include <string>

#include "base/ids.h"
#include "base/loop.h"
#include "http/server.h"
#include "proto/peer.pb.h"
#include "server/metrics.h"

namespace outlast::server {

/// What the routes of every process ask of it. Any thread.
struct ProbePorts {
  /// Empty: ready. Else one sentence why not.
  std::function<std::string()> not_ready;
  const Metrics* metrics{nullptr};
};
/// What the HTTP routes ask of the node. Any thread.
struct HttpPorts {
  std::function<proto::NodeStatusReply()> nodes;
  /// With what runs on each node, which its process is asked for.
  std::function<void(Callback<proto::NodeStatusReply>)> nodes_and_work;
  std::function<void(Callback<proto::TasksReply>)> tasks;
  std::function<void(Callback<proto::RangesReply>)> ranges;
  std::function<void(RangeId, Callback<proto::RangeReply>)> range;
  std::function<void(RangeId, Callback<proto::DigestReply>)> digest;
};

/// GET /health, /health?ready=1, /metrics.
void add_probe_routes(http::Server& server, ProbePorts ports);
/// GET /api/nodes, /api/v1/nodes, /api/tasks, /api/ranges, /api/ranges/<id>, /api/ranges/<id>/digest.
void add_routes(http::Server& server, HttpPorts ports);

}  // namespace outlast::server
