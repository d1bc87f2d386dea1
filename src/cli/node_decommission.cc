// node decommission, node recommission.
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "base/parse.h"
#include "cli/any_node.h"
#include "cli/groups.h"
#include "cli/interrupt.h"
#include "cli/node_decommission_follow.h"
#include "rpc/client.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr auto kAnswerLimit = 5s;
constexpr auto kCheckLimit = 60s;  // every range is looked at, and every node asked for sizes

struct LeaveOptions {
  std::vector<std::string> ids;
  std::string host{"127.0.0.1:26258"}, format{"text"}, checks{"enabled"}, wait{"all"};
  bool self{false}, dry_run{false};
};

/// The nodes that the command line names.
Result<std::set<std::uint32_t>> named_nodes(const LeaveOptions& o) {
  if (o.self == !o.ids.empty())
    return Error(Errc::kInvalidArgument, "name the nodes by their ids, or say --self for the node at --host");
  std::set<std::uint32_t> nodes;
  if (o.self) {
    ASSIGN_OR_RETURN(const proto::DrainReply reply, rpc::AdminClient(o.host).drain({}, kAnswerLimit));  // STATUS
    if (!reply.code().empty()) return Error(errc_from_name(reply.code()), reply.message());
    nodes.insert(reply.status().node());
    return nodes;
  }
  for (const std::string& word : o.ids) {
    ASSIGN_OR_RETURN(const std::int64_t id, parse_int(word));
    if (id <= 0 || id > UINT32_MAX) return Error(Errc::kInvalidArgument, word + " is no id of a node");
    nodes.insert(static_cast<std::uint32_t>(id));
  }
  return nodes;
}

void to_stdout(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}
void to_stderr(const std::string& text) {
  std::fputs(text.c_str(), stderr);
}

DecommissionPorts ports_to(AnyNode& any, const InterruptScope& interrupt) {
  return {.decommission =
              [&any](const proto::DecommissionRequest& request) {
                return any.ask<proto::DecommissionReply>([&request](const std::string& address) {
                  return rpc::AdminClient(address).decommission(request, kCheckLimit);
                });
              },
          .tasks =
              [&any](const proto::TasksRequest& request) {
                return any.ask<proto::TasksReply>([&request](const std::string& address) {
                  return rpc::AdminClient(address).tasks(request, kAnswerLimit);
                });
              },
          .nodes =
              [&any] {
                return any.ask<proto::NodeStatusReply>(
                    [](const std::string& address) { return rpc::AdminClient(address).node_status(kAnswerLimit); });
              },
          .now = [] { return Duration(std::chrono::steady_clock::now().time_since_epoch()); },
          .pause = [&interrupt](Duration d) { return interrupt.wait(d); },
          .out = to_stdout,
          .err = to_stderr};
}

template <class Command>
int with_cluster(const LeaveOptions& o, const char* name, Command command) {
  const auto nodes = named_nodes(o);
  if (!nodes.ok()) {
    const int code = fail_with(nodes.error());
    return nodes.error().code == Errc::kInvalidArgument ? kUsage : code;
  }
  const InterruptScope interrupt;
  AnyNode any(o.host, to_stderr);
  const DecommissionPorts ports = ports_to(any, interrupt);
  const auto cluster = ports.nodes();
  if (!cluster.ok()) return fail_with(cluster.error());
  any.learn(*cluster, *nodes);
  return command(DecommissionOptions{.nodes = *nodes,
                                     .checks = o.checks,
                                     .by = asked_by(name),
                                     .dry_run = o.dry_run,
                                     .wait = o.wait == "all",
                                     .json = o.format == "json",
                                     .terminal = ::isatty(STDERR_FILENO) == 1},
                 ports);
}

int node_decommission(const LeaveOptions& o) {
  return with_cluster(o, "node decommission", [](const DecommissionOptions& options, const DecommissionPorts& ports) {
    return DecommissionFollow(options, ports).run();
  });
}

std::vector<Option> which_nodes(LeaveOptions& o) {
  return {
      {.name = "ID", .value_name = "", .target = &o.ids, .help = "ids of the nodes, as `outlast node status` shows"},
      host_option(o.host),
      {.name = "--self", .value_name = "", .target = &o.self, .help = "the node at --host, instead of an id"}};
}

Option text_or_json(LeaveOptions& o, const char* help) {
  return {.name = "--format", .value_name = "FORMAT", .target = &o.format, .help = help, .choices = {"text", "json"}};
}

std::vector<Option> decommission_options(LeaveOptions& o) {
  std::vector<Option> options = which_nodes(o);
  options.push_back({.name = "--checks",
                     .value_name = "CHECKS",
                     .target = &o.checks,
                     .help =
                         "enabled: every replica must have a place to go to; strict: and no range may be\n"
                         "under-replicated or lose a failure domain, no last frontend or input may leave; skip: begin "
                         "whatever is found",
                     .choices = {"enabled", "strict", "skip"}});
  options.push_back({.name = "--dry-run",
                     .value_name = "",
                     .target = &o.dry_run,
                     .help = "change nothing: say what would be in the way, and how much would be copied"});
  options.push_back({.name = "--wait",
                     .value_name = "WAIT",
                     .target = &o.wait,
                     .help = "all: until every node is decommissioned; none: only until the task is stored",
                     .choices = {"all", "none"}});
  options.push_back(text_or_json(o, "text, or json: one object a line, the last one is the end"));
  return options;
}

}  // namespace

void add_node_decommission(Commands& all) {
  auto leave = std::make_shared<LeaveOptions>();
  all.push_back(
      {.path = "node decommission",
       .summary = "Take nodes out of the cluster for good, with everything on them moved to the others",
       .details =
           "Name all nodes that shall leave at once. Their replicas move to the nodes that stay, then they are "
           "drained,\n"
           "then they are decommissioned: final, their stores will not be opened again. The task is the cluster's: it\n"
           "goes on when this command ends (Ctrl-C), and running it again follows it. Dead nodes may be named, too.\n"
           "Stop the processes only when this ends with 0. --dry-run returns 3 when it would not begin.\n"
           "docs/decommission.md has walkthroughs, and what to do when it stalls.\n\n"
           "  outlast node decommission 4 5 --host=10.0.0.1:26258",
       .options = decommission_options(*leave),
       .run = [leave] { return node_decommission(*leave); }});

  auto stay = std::make_shared<LeaveOptions>();
  std::vector<Option> options = which_nodes(*stay);
  options.push_back(text_or_json(*stay, "text, or json: one node a line"));
  all.push_back(
      {.path = "node recommission",
       .summary = "Take a decommission back while it is not final: the nodes stay",
       .details =
           "Copies under way are finished or given up, a node that drains already is undrained without a restart.\n"
           "Replicas that have moved stay where they are; the cluster balances itself later. A node that is\n"
           "decommissioned is so for good.",
       .options = std::move(options),
       .run = [stay] { return with_cluster(*stay, "node recommission", recommission); }});
}

}  // namespace outlast::cli
