// node ls, node status.
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <memory>

#include "cli/groups.h"
#include "cli/node_status_text.h"
#include "rpc/client.h"
#include "server/json_views.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;

struct StatusOptions {
  std::string host{"127.0.0.1:26258"}, format{"table"};
  bool decommission{false}, all{false};
};

int node_ls(const StatusOptions& o) {
  const auto reply = rpc::AdminClient(o.host).node_status(5s);
  if (!reply.ok()) return fail_with(reply.error());
  Table table({"id"});
  boost::json::array ids;
  for (const proto::NodeStatus& node : reply->nodes()) {
    if (node.membership() == "decommissioned") continue;
    table.add({std::to_string(node.id())});
    ids.emplace_back(node.id());
  }
  if (o.format == "json")
    std::puts(boost::json::serialize(ids).c_str());
  else
    table.print(o.format);
  return kDone;
}

int node_status(const StatusOptions& o) {
  rpc::AdminClient node(o.host);
  const auto reply = o.all ? node.decommission_status(60s) : node.node_status(5s);
  if (!reply.ok()) return fail_with(reply.error());
  if (o.format == "json") {
    boost::json::array nodes;
    for (const proto::NodeStatus& each : reply->nodes()) nodes.push_back(server::to_json(each));
    std::puts(boost::json::serialize(nodes).c_str());
  } else {
    (o.decommission || o.all ? leaving_table(*reply, o.all) : status_table(*reply)).print(o.format);
  }
  return kDone;
}
}  // namespace

void add_node(Commands& all) {
  auto ls = std::make_shared<StatusOptions>();
  all.push_back({.path = "node ls",
                 .summary = "List the ids of the cluster's nodes, without those that were decommissioned",
                 .options = {host_option(ls->host), format_option(ls->format)},
                 .run = [ls] { return node_ls(*ls); }});

  auto o = std::make_shared<StatusOptions>();
  all.push_back(
      {.path = "node status",
       .summary = "Show the nodes of the cluster as one of them knows them",
       .details = "is_live: renews its liveness record. is_available: live, and its last worker serves.\n"
                  "liveness: live, suspect (no renewal for twice liveness.renew), fenced, or dead (silent for\n"
                  "server.time_until_store_dead; not while `node maintenance` lasts).\n"
                  "readiness: what a decommission of this one node would find, as `node decommission --dry-run` does.",
       .options = {host_option(o->host),
                   {.name = "--decommission",
                    .value_name = "",
                    .target = &o->decommission,
                    .help = "the columns of a decommission: replicas, membership, is_draining"},
                   {.name = "--all",
                    .value_name = "",
                    .target = &o->all,
                    .help = "these, and bytes, readiness and blocking_ranges of every node"},
                   format_option(o->format)},
       .run = [o] { return node_status(*o); }});
}

}  // namespace outlast::cli
