// node status.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <ctime>
#include <memory>

#include "cli/groups.h"
#include "rpc/client.h"

namespace outlast::cli {
namespace {

struct StatusOptions {
  std::string host{"127.0.0.1:26258"}, format{"table"};
};
using Cells = std::vector<std::string>;

const Cells kHeader = {"id",       "address",    "sql_address", "build",    "started_at", "is_available",   "is_live",
                       "liveness", "membership", "is_draining", "replicas", "leases",     "leader_frontend"};

std::string time_text(std::int64_t micros) {
  const std::time_t seconds = micros / 1'000'000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &utc);
  return text;
}
std::string yes(bool value) {
  return value ? "true" : "false";
}

Cells cells(const proto::NodeStatus& n) {
  return {std::to_string(n.id()),
          n.address(),
          n.sql_address(),
          n.build(),
          time_text(n.started_at_micros()),
          yes(n.is_available()),
          yes(n.is_live()),
          n.liveness(),
          n.membership(),
          yes(n.is_draining()),
          std::to_string(n.replicas()),
          std::to_string(n.leases()),
          yes(n.is_leader_frontend())};
}

void print_table(const std::vector<Cells>& rows) {
  std::vector<std::size_t> widths(kHeader.size());
  for (std::size_t i = 0; i < kHeader.size(); ++i) widths[i] = kHeader[i].size();
  for (const Cells& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  const auto line = [&](const Cells& row) {
    for (std::size_t i = 0; i < row.size(); ++i)
      std::printf("%s%-*s", i == 0 ? "  " : " | ", static_cast<int>(widths[i]), row[i].c_str());
    std::putchar('\n');
  };
  line(kHeader);
  for (std::size_t i = 0; i < widths.size(); ++i)
    std::printf("%s%s", i == 0 ? "--" : "-+-", std::string(widths[i], '-').c_str());
  std::putchar('\n');
  for (const Cells& row : rows) line(row);
  std::printf("(%zu row%s)\n", rows.size(), rows.size() == 1 ? "" : "s");
}

void print_csv(const std::vector<Cells>& rows) {
  const auto line = [](const Cells& row) {
    for (std::size_t i = 0; i < row.size(); ++i) std::printf("%s%s", i == 0 ? "" : ",", row[i].c_str());
    std::putchar('\n');
  };
  line(kHeader);
  for (const Cells& row : rows) line(row);
}

void print_json(const proto::NodeStatusReply& reply) {
  boost::json::array nodes;
  for (const proto::NodeStatus& n : reply.nodes())
    nodes.push_back(boost::json::object{{"id", n.id()},
                                        {"address", n.address()},
                                        {"sql_address", n.sql_address()},
                                        {"http_address", n.http_address()},
                                        {"build", n.build()},
                                        {"started_at", time_text(n.started_at_micros())},
                                        {"is_available", n.is_available()},
                                        {"is_live", n.is_live()},
                                        {"liveness", n.liveness()},
                                        {"incarnation", n.incarnation()},
                                        {"membership", n.membership()},
                                        {"is_draining", n.is_draining()},
                                        {"is_decommissioning", n.is_decommissioning()},
                                        {"replicas", n.replicas()},
                                        {"leases", n.leases()},
                                        {"is_leader_frontend", n.is_leader_frontend()}});
  std::puts(boost::json::serialize(nodes).c_str());
}

int node_status(const StatusOptions& o) {
  const Result<proto::NodeStatusReply> reply = rpc::AdminClient(o.host).node_status(std::chrono::seconds(5));
  if (!reply.ok()) {
    std::fprintf(stderr, "outlast: %s; is --host the --listen-addr of a running node?\n",
                 reply.error().message.c_str());
    return kFailed;
  }
  std::vector<Cells> rows;
  for (const proto::NodeStatus& node : reply->nodes()) rows.push_back(cells(node));
  if (o.format == "json")
    print_json(*reply);
  else if (o.format == "csv")
    print_csv(rows);
  else
    print_table(rows);
  return kDone;
}
}  // namespace

void add_node(Commands& all) {
  auto o = std::make_shared<StatusOptions>();
  all.push_back(
      {.path = "node status",
       .summary = "Show the nodes of the cluster as one of them knows them",
       .details = "is_live: renews its liveness record. is_available: live, and its last worker serves.\n"
                  "liveness: live, suspect (no renewal for twice liveness.renew), fenced, or dead (silent for\n"
                  "server.time_until_store_dead).",
       .options =
           {{.name = "--host", .value_name = "HOST:PORT", .target = &o->host, .help = "--listen-addr of any node"},
            {.name = "--format",
             .value_name = "FORMAT",
             .target = &o->format,
             .help = "how to print it",
             .choices = {"table", "json", "csv"}}},
       .run = [o] { return node_status(*o); }});
}

}  // namespace outlast::cli
