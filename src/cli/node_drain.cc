// node drain, node undrain.
#include <unistd.h>

#include <boost/json/serialize.hpp>
#include <cstdio>
#include <memory>

#include "base/parse.h"
#include "cli/drain_follow.h"
#include "cli/drain_rehearsal.h"
#include "cli/groups.h"
#include "cli/http_get.h"
#include "cli/interrupt.h"
#include "cli/table.h"
#include "rpc/client.h"
#include "server/json_views.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr auto kAnswerLimit = 5s;

struct DrainOptions {
  std::vector<std::string> ids;
  std::string host{"127.0.0.1:26258"}, format{"text"};
  Duration wait{10min}, deadline{0}, rehearsal{0};
  bool self{false}, shutdown{false}, force{false}, dry_run{false};
};

/// One node to speak to.
struct DrainNode {
  std::string name, address;
};

Result<DrainNode> find_node(const proto::NodeStatusReply& cluster, const std::string& word) {
  ASSIGN_OR_RETURN(const std::int64_t id, parse_int(word));
  std::vector<std::uint32_t> known;
  for (const proto::NodeStatus& node : cluster.nodes()) {
    if (node.id() == id) return DrainNode{"node " + word, node.address()};
    known.push_back(node.id());
  }
  return Error(Errc::kNotFound, "there is no node " + word + ", only " + joined(known) + ": see `outlast node status`");
}

/// The nodes that the command line names; all of them or an error.
Result<std::vector<DrainNode>> find_nodes(const DrainOptions& o) {
  if (o.self == !o.ids.empty())
    return Error(Errc::kInvalidArgument, "name the nodes by their ids, or say --self for the node at --host");
  if (o.self) return std::vector<DrainNode>{{"the node at " + o.host, o.host}};
  ASSIGN_OR_RETURN(const proto::NodeStatusReply cluster, rpc::AdminClient(o.host).node_status(kAnswerLimit));
  std::vector<DrainNode> nodes;
  for (const std::string& id : o.ids) {
    ASSIGN_OR_RETURN(DrainNode node, find_node(cluster, id));
    nodes.push_back(std::move(node));
  }
  return nodes;
}

int cannot(const Error& error) {
  const int code = fail_with(error);
  return error.code == Errc::kInvalidArgument ? kUsage : code;
}

proto::DrainRequest request_of(const DrainOptions& o, proto::DrainRequest::Action action) {
  proto::DrainRequest request;
  request.set_action(action);
  request.set_force(o.force);
  request.set_deadline_ms(static_cast<std::uint64_t>(o.deadline / 1ms));
  request.set_by(asked_by("node drain"));
  return request;
}

int follow(const DrainOptions& o, const DrainNode& node, const InterruptScope& interrupt) {
  rpc::AdminClient client(node.address);
  const auto write_to = [](std::FILE* file) {
    return [file](const std::string& text) {
      std::fputs(text.c_str(), file);
      std::fflush(file);
    };
  };
  DrainFollow follower(
      {.request = request_of(o, proto::DrainRequest::DRAIN),
       .shutdown = o.shutdown,
       .wait = o.wait,
       .name = node.name,
       .json = o.format == "json",
       .terminal = ::isatty(STDERR_FILENO) == 1},
      {.ask = [&client](const proto::DrainRequest& request) { return client.drain(request, kAnswerLimit); },
       .now = [] { return Duration(std::chrono::steady_clock::now().time_since_epoch()); },
       .pause = [&interrupt](Duration d) { return interrupt.wait(d); },
       .out = write_to(stdout),
       .err = write_to(stderr)});
  return follower.run();
}

/// One question, one answer: a dry run or an undrain.
Result<proto::DrainStatus> ask_once(const DrainOptions& o, const DrainNode& node, proto::DrainRequest::Action action) {
  ASSIGN_OR_RETURN(const proto::DrainReply reply,
                   rpc::AdminClient(node.address).drain(request_of(o, action), kAnswerLimit));
  if (!reply.code().empty()) return Error(errc_from_name(reply.code()), node.name + ": " + reply.message());
  return reply.status();
}

int dry_run(const DrainOptions& o, const DrainNode& node) {
  const auto status = ask_once(o, node, proto::DrainRequest::DRY_RUN);
  if (!status.ok()) return fail_with(status.error());
  std::fputs(o.format == "json" ? (boost::json::serialize(server::to_json(*status)) + "\n").c_str()
                                : drain_plan(*status).c_str(),
             stdout);
  return needs_force(*status) ? kVerdictNegative : kDone;
}

/// What all gateways of the cluster have counted; a node that does not answer has no clients to feel anything.
Result<lifecycle::StatementCounts> all_statements(const std::string& host) {
  ASSIGN_OR_RETURN(const proto::NodeStatusReply cluster, rpc::AdminClient(host).node_status(kAnswerLimit));
  lifecycle::StatementCounts all;
  for (const proto::NodeStatus& node : cluster.nodes()) {
    if (!node.is_available()) continue;
    ASSIGN_OR_RETURN(const HttpAnswer answer, http_get(node.http_address(), "/metrics", kAnswerLimit));
    ASSIGN_OR_RETURN(const lifecycle::StatementCounts counts, parse_statement_counts(answer.body));
    all.add(counts);
  }
  return all;
}

int rehearse_on(const DrainOptions& o, const DrainNode& node, const InterruptScope& interrupt) {
  rpc::AdminClient client(node.address);
  return rehearse({.name = node.name, .time = o.rehearsal, .by = asked_by("node drain"), .json = o.format == "json"},
                  {.ask = [&client](const proto::DrainRequest& request) { return client.drain(request, kAnswerLimit); },
                   .statements = [&o] { return all_statements(o.host); },
                   .pause = [&interrupt](Duration d) { return interrupt.wait(d); },
                   .out = [](const std::string& text) { std::fputs(text.c_str(), stdout); },
                   .err = [](const std::string& text) { std::fputs(text.c_str(), stderr); }});
}

/// One node after another: draining two at once would move leases to nodes that give them away again.
int node_drain(const DrainOptions& o) {
  const auto nodes = find_nodes(o);
  if (!nodes.ok()) return cannot(nodes.error());
  const InterruptScope interrupt;
  for (const DrainNode& node : *nodes) {
    if (nodes->size() > 1) std::fprintf(stderr, "%s:\n", node.name.c_str());
    const int code = o.dry_run                        ? dry_run(o, node)
                     : o.rehearsal > Duration::zero() ? rehearse_on(o, node, interrupt)
                                                      : follow(o, node, interrupt);
    if (code != kDone) return code;
  }
  return kDone;
}

int node_undrain(const DrainOptions& o) {
  const auto nodes = find_nodes(o);
  if (!nodes.ok()) return cannot(nodes.error());
  for (const DrainNode& node : *nodes)
    if (const auto status = ask_once(o, node, proto::DrainRequest::UNDRAIN); !status.ok())
      return fail_with(status.error());
  std::puts("ok");
  return kDone;
}

std::vector<Option> which_nodes(DrainOptions& o) {
  return {
      {.name = "ID", .value_name = "", .target = &o.ids, .help = "ids of the nodes, as `outlast node status` shows"},
      host_option(o.host),
      {.name = "--self", .value_name = "", .target = &o.self, .help = "the node at --host, instead of an id"}};
}

std::vector<Option> drain_options(DrainOptions& o) {
  std::vector<Option> options = which_nodes(o);
  const std::vector<Option> more{
      {.name = "--drain-wait",
       .value_name = "TIME",
       .target = &o.wait,
       .help = "how long to wait here; raised to what server.shutdown.* add up to"},
      {.name = "--shutdown",
       .value_name = "",
       .target = &o.shutdown,
       .help = "end the node's process once it is drained"},
      {.name = "--deadline",
       .value_name = "TIME",
       .target = &o.deadline,
       .help = "the process will be killed after this time: cut waits short so that its leases leave before; 0: no"},
      {.name = "--force",
       .value_name = "",
       .target = &o.force,
       .help = "end although leases are left that nobody else could take; their databases stop"},
      {.name = "--dry-run",
       .value_name = "",
       .target = &o.dry_run,
       .help = "change nothing: say what would move where, how long it would take and what would be in its way"},
      {.name = "--rehearse",
       .value_name = "TIME",
       .target = &o.rehearsal,
       .help = "only hand the leases away for so long, take them back, and say what the clients of the cluster felt"},
      {.name = "--format",
       .value_name = "FORMAT",
       .target = &o.format,
       .help = "text, or json: one object a line, the receipt last",
       .choices = {"text", "json"}}};
  options.insert(options.end(), more.begin(), more.end());
  return options;
}

}  // namespace

void add_node_drain(Commands& all) {
  auto drain = std::make_shared<DrainOptions>();
  all.push_back(
      {.path = "node drain",
       .summary = "Take a node out of service without its clients noticing",
       .details =
           "The node's readiness probe fails, its leases move to other nodes, its sessions end where nothing of theirs "
           "is\n"
           "open; its process goes on unless --shutdown is given. The drain is the node's own: it goes on when this\n"
           "command ends (Ctrl-C, `ERROR: drain timeout`), and running it again continues to wait. docs/operating.md "
           "has\n"
           "the settings with which clients notice nothing. --dry-run returns 3 when the drain would never end.\n\n"
           "  outlast node drain 2 --host=10.0.0.1:26258\n"
           "  outlast node drain --self --shutdown --deadline=60s",
       .options = drain_options(*drain),
       .run = [drain] { return node_drain(*drain); }});

  auto undrain = std::make_shared<DrainOptions>();
  all.push_back({.path = "node undrain",
                 .summary = "Take a drain back: the node serves again, without a restart",
                 .details =
                     "Sessions that were told to go have gone; leases return by themselves. A node that does not\n"
                     "drain is left as it is.",
                 .options = which_nodes(*undrain),
                 .run = [undrain] { return node_undrain(*undrain); }});
}

}  // namespace outlast::cli
