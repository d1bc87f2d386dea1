// node status.
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <memory>

#include "cli/groups.h"
#include "cli/table.h"
#include "rpc/client.h"
#include "server/json_views.h"

namespace outlast::cli {
namespace {

struct StatusOptions {
  std::string host{"127.0.0.1:26258"}, format{"table"};
};

Table table_of(const proto::NodeStatusReply& reply) {
  Table table({"id", "address", "sql_address", "build", "started_at", "is_available", "is_live", "liveness",
               "membership", "is_draining", "replicas", "leases", "leader_frontend", "store"});
  for (const proto::NodeStatus& n : reply.nodes())
    table.add({std::to_string(n.id()), n.address(), n.sql_address(), n.build(),
               server::time_text(n.started_at_micros()), yes(n.is_available()), yes(n.is_live()), n.liveness(),
               n.membership(), yes(n.is_draining()), std::to_string(n.replicas()), std::to_string(n.leases()),
               yes(n.is_leader_frontend()), n.store_failure().empty() ? "ok" : "failed"});
  return table;
}

int node_status(const StatusOptions& o) {
  const Result<proto::NodeStatusReply> reply = rpc::AdminClient(o.host).node_status(std::chrono::seconds(5));
  if (!reply.ok()) return fail_with(reply.error());
  if (o.format == "json") {
    boost::json::array nodes;
    for (const proto::NodeStatus& node : reply->nodes()) nodes.push_back(server::to_json(node));
    std::puts(boost::json::serialize(nodes).c_str());
  } else {
    table_of(*reply).print(o.format);
  }
  return kDone;
}
}  // namespace

void add_node(Commands& all) {
  auto o = std::make_shared<StatusOptions>();
  all.push_back({.path = "node status",
                 .summary = "Show the nodes of the cluster as one of them knows them",
                 .details =
                     "is_live: renews its liveness record. is_available: live, and its last worker serves.\n"
                     "liveness: live, suspect (no renewal for twice liveness.renew), fenced, or dead (silent for\n"
                     "server.time_until_store_dead).",
                 .options = {host_option(o->host), format_option(o->format)},
                 .run = [o] { return node_status(*o); }});
}

}  // namespace outlast::cli
