#include "cli/node_status_text.h"

#include <spdlog/fmt/fmt.h>

#include "base/parse.h"
#include "server/json_views.h"

namespace outlast::cli {

std::string precise_time_text(std::int64_t micros) {
  std::string text = server::time_text(micros);
  if (micros % 1'000'000 == 0) return text;
  text += fmt::format(".{:06}", micros % 1'000'000);
  while (text.ends_with('0')) text.pop_back();
  return text;
}

namespace {
/// A program from before there were roles has all of them.
std::string roles_of(const proto::NodeStatus& n) {
  return n.roles().empty() ? "frontend,backend,compute" : n.roles();
}
}  // namespace

Table status_table(const proto::NodeStatusReply& reply) {
  Table table({"id", "address", "sql_address", "build", "started_at", "is_available", "is_live", "liveness",
               "membership", "is_draining", "replicas", "leases", "leader_frontend", "store", "locality", "roles",
               "maintenance"});
  for (const proto::NodeStatus& n : reply.nodes())
    table.add({std::to_string(n.id()), n.address(), n.sql_address(), n.build(),
               server::time_text(n.started_at_micros()), yes(n.is_available()), yes(n.is_live()), n.liveness(),
               n.membership(), yes(n.is_draining()), std::to_string(n.replicas()), std::to_string(n.leases()),
               yes(n.is_leader_frontend()), n.store_failure().empty() ? "ok" : "failed",
               n.locality().empty() ? "-" : n.locality(), roles_of(n),
               n.maintenance_until_micros() == 0 ? "-" : "until " + server::time_text(n.maintenance_until_micros())});
  return table;
}

Table leaving_table(const proto::NodeStatusReply& reply, bool all) {
  std::vector<std::string> columns{"id",         "address",           "sql_address",        "build",
                                   "started_at", "updated_at",        "locality",           "is_available",
                                   "is_live",    "gossiped_replicas", "is_decommissioning", "membership",
                                   "is_draining"};
  if (all) columns.insert(columns.end(), {"bytes", "readiness", "blocking_ranges", "roles"});
  Table table(std::move(columns));
  for (const proto::NodeStatus& n : reply.nodes()) {
    std::vector<std::string> cells{std::to_string(n.id()),
                                   n.address(),
                                   n.sql_address(),
                                   n.build(),
                                   precise_time_text(n.started_at_micros()),
                                   precise_time_text(n.updated_at_micros()),
                                   n.locality(),
                                   yes(n.is_available()),
                                   yes(n.is_live()),
                                   std::to_string(n.replicas()),
                                   yes(n.is_decommissioning()),
                                   n.membership(),
                                   yes(n.is_draining())};
    if (all)
      cells.insert(cells.end(), {format_bytes(n.bytes()), n.readiness().empty() ? "-" : n.readiness(),
                                 std::to_string(n.blocking_ranges()), roles_of(n)});
    table.add(std::move(cells));
  }
  return table;
}

}  // namespace outlast::cli
