// cluster safe-to-stop, cluster rolling-restart.
#include <sys/wait.h>
#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>

#include "base/parse.h"
#include "cli/any_node.h"
#include "cli/groups.h"
#include "cli/interrupt.h"
#include "cli/rolling_follow.h"
#include "cli/table.h"
#include "rpc/client.h"
#include "run/spawn.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr auto kAnswerLimit = 5s;

struct SafeOptions {
  std::string host{"127.0.0.1:26258"}, format{"text"};
  std::int64_t max{0};
};

struct RollingCliOptions {
  std::string host{"127.0.0.1:26258"}, format{"text"}, batch{"auto"}, command;
  std::vector<std::string> nodes;
  double ratio{2};
  std::int64_t windows{3};
  Duration window{10s};
  bool dry_run{false}, attach{false};
};

boost::json::object to_json(const proto::SafeToStopReply& reply) {
  boost::json::array nodes, left;
  for (const auto node : reply.nodes()) nodes.emplace_back(node);
  for (const auto& one : reply.left()) {
    boost::json::object object{{"node", one.node()}, {"reason", one.reason()}, {"why", one.why()}};
    if (one.range() > 0) object["range"] = one.range();
    left.push_back(std::move(object));
  }
  return {{"nodes", std::move(nodes)}, {"left", std::move(left)}, {"largest", reply.largest()}};
}

int safe_to_stop(const SafeOptions& o) {
  proto::SafeToStopRequest request;
  request.set_max(static_cast<std::uint32_t>(o.max));
  const auto reply = rpc::AdminClient(o.host).safe_to_stop(request, kAnswerLimit);
  if (!reply.ok()) return fail_with(reply.error());
  std::fputs(
      o.format == "json" ? (boost::json::serialize(to_json(*reply)) + "\n").c_str() : safe_to_stop_text(*reply).c_str(),
      stdout);
  return reply->nodes_size() > 0 ? kDone : kVerdictNegative;
}

std::string who() {
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  const char* user = std::getenv("USER");
  return std::string("cluster rolling-restart, ") + (user == nullptr ? "somebody" : user) + "@" + host;
}

Result<proto::RollingRestartRequest> request_of(const RollingCliOptions& o) {
  proto::RollingRestartRequest request;
  for (const std::string& word : o.nodes) {
    ASSIGN_OR_RETURN(const std::int64_t id, parse_int(word));
    request.add_nodes(static_cast<std::uint32_t>(id));
  }
  if (o.batch != "auto") {
    const auto batch = parse_int(o.batch);
    if (!batch.ok() || *batch < 1) return Error(Errc::kInvalidArgument, "--batch is auto or a number from 1 up");
    request.set_batch(static_cast<std::uint32_t>(*batch));
  }
  if (o.ratio <= 1) return Error(Errc::kInvalidArgument, "--max-p99-ratio is a number above 1");
  if (o.window < 1s) return Error(Errc::kInvalidArgument, "--window is 1s or longer");
  request.set_command(o.command);
  request.set_max_p99_ratio(o.ratio);
  request.set_windows(static_cast<std::uint32_t>(o.windows));
  request.set_window_ms(static_cast<std::uint64_t>(o.window / 1ms));
  request.set_dry_run(o.dry_run);
  request.set_by(who());
  return request;
}

/// The cluster, whichever of its nodes answers.
class Cluster {
 public:
  explicit Cluster(const std::string& host)
      : node_(host, [](const std::string& line) { std::fputs(line.c_str(), stderr); }) {}

  Result<proto::TasksReply> tasks(const proto::TasksRequest& request) {
    if (asked_++ % kLearnEvery == 0) (void)nodes();
    return node_.ask<proto::TasksReply>(
        [&](const std::string& address) { return client(address).tasks(request, kAnswerLimit); });
  }
  Result<proto::NodeStatus> find(NodeId id) {
    ASSIGN_OR_RETURN(const proto::NodeStatusReply all, nodes());
    for (const proto::NodeStatus& each : all.nodes())
      if (each.id() == id.value) return each;
    return Error(Errc::kNotFound, "there is no node " + id.to_string());
  }

 private:
  static constexpr int kLearnEvery = 4;  ///< Questions: the process of a restarted node has another address.
  Result<proto::NodeStatusReply> nodes() {
    auto all = node_.ask<proto::NodeStatusReply>(
        [this](const std::string& address) { return client(address).node_status(kAnswerLimit); });
    if (all.ok()) node_.learn(*all, {});
    return all;
  }
  /// One connection for all questions to a node.
  rpc::AdminClient& client(const std::string& address) { return clients_.try_emplace(address, address).first->second; }

  AnyNode node_;
  std::map<std::string, rpc::AdminClient> clients_;
  int asked_{0};
};

/// The commands of this command line, one for each node at most.
class NodeCommands {
 public:
  explicit NodeCommands(Cluster& cluster) : cluster_(cluster) {}

  Result<void> run(NodeId node, const std::string& command) {
    ASSIGN_OR_RETURN(const proto::NodeStatus facts, cluster_.find(node));
    std::vector<std::string> environment = run::environment_for_children();
    environment.push_back("OUTLAST_NODE=" + node.to_string());
    environment.push_back("OUTLAST_ADDRESS=" + facts.address());
    environment.push_back("OUTLAST_SQL_ADDRESS=" + facts.sql_address());
    environment.push_back("OUTLAST_HTTP_ADDRESS=" + facts.http_address());
    ASSIGN_OR_RETURN(pids_[node], run::spawn({.command = {"/bin/sh", "-c", command_for(command, facts)},
                                              .environment = std::move(environment),
                                              .sockets = {}}));
    return {};
  }
  std::optional<int> exit(NodeId node) {
    const auto it = pids_.find(node);
    int status = 0;
    if (it == pids_.end() || ::waitpid(it->second, &status, WNOHANG) == 0) return std::nullopt;
    pids_.erase(it);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  Cluster& cluster_;
  std::map<NodeId, pid_t> pids_;
};

int follow(const RollingCliOptions& o, Cluster& cluster, std::uint64_t task) {
  const InterruptScope interrupt;
  NodeCommands commands(cluster);
  const auto write_to = [](std::FILE* file) {
    return [file](const std::string& text) {
      std::fputs(text.c_str(), file);
      std::fflush(file);
    };
  };
  RollingFollow follower(
      {.task = task, .token = who() + ":" + std::to_string(::getpid()), .json = o.format == "json"},
      {.ask = [&cluster](const proto::TasksRequest& request) { return cluster.tasks(request); },
       .run = [&commands](NodeId node, const std::string& command) { return commands.run(node, command); },
       .exit = [&commands](NodeId node) { return commands.exit(node); },
       .now = [] { return Duration(std::chrono::steady_clock::now().time_since_epoch()); },
       .pause = [&interrupt](Duration d) { return interrupt.wait(d); },
       .out = write_to(stdout),
       .err = write_to(stderr)});
  return follower.run();
}

/// The one that is under way or paused.
Result<std::uint64_t> present_task(Cluster& cluster) {
  ASSIGN_OR_RETURN(const proto::TasksReply reply, cluster.tasks({}));
  for (const proto::TaskStatus& task : reply.tasks())
    if (task.kind() == "rolling-restart" && (task.state() == "running" || task.state() == "paused")) return task.id();
  return Error(Errc::kNotFound, "there is no rolling restart under way: begin one without --attach");
}

int dry_run(const RollingCliOptions& o, const proto::RollingRestartReply& reply) {
  if (o.format == "json") {
    boost::json::array batches, left;
    for (const auto& batch : reply.batches()) {
      boost::json::array nodes;
      for (const auto node : batch.nodes()) nodes.emplace_back(node);
      batches.push_back(std::move(nodes));
    }
    for (const auto& one : reply.left()) left.push_back(boost::json::object{{"node", one.node()}, {"why", one.why()}});
    std::puts(boost::json::serialize(boost::json::object{{"batches", batches}, {"left", left}}).c_str());
  } else {
    std::fputs(rolling_plan(reply).c_str(), stdout);
  }
  return reply.left_size() == 0 ? kDone : kVerdictNegative;
}

int rolling_restart(const RollingCliOptions& o) {
  Cluster cluster(o.host);
  if (o.attach) {
    const auto task = present_task(cluster);
    return task.ok() ? follow(o, cluster, *task) : fail_with(task.error());
  }
  const auto request = request_of(o);
  if (!request.ok()) {
    fail_with(request.error());
    return kUsage;
  }
  const auto reply = rpc::AdminClient(o.host).rolling_restart(*request, kAnswerLimit);
  if (!reply.ok()) return fail_with(reply.error());
  if (!reply->code().empty()) return fail_with(Error(errc_from_name(reply->code()), reply->message()));
  if (o.dry_run) return dry_run(o, *reply);
  for (const auto& left : reply->left()) std::fprintf(stderr, "not node %u: %s\n", left.node(), left.why().c_str());
  return follow(o, cluster, reply->task());
}

std::vector<Option> rolling_options(RollingCliOptions& o) {
  return {host_option(o.host),
          {.name = "--nodes", .value_name = "ID,…", .target = &o.nodes, .help = "these nodes only, instead of all"},
          {.name = "--batch",
           .value_name = "N",
           .target = &o.batch,
           .help = "nodes at once at most, as far as it is safe; auto: a quarter of the nodes, at least one"},
          {.name = "--command",
           .value_name = "COMMAND",
           .target = &o.command,
           .help = "drain each node and run this here, with {node} and {address} filled in, instead of a zero-downtime "
                   "restart"},
          {.name = "--dry-run", .value_name = "", .target = &o.dry_run, .help = "change nothing: say how it would go"},
          {.name = "--attach",
           .value_name = "",
           .target = &o.attach,
           .help = "follow the rolling restart that is under way, and run its command; --host may name several nodes "
                   "then, with commas: whichever answers is asked"},
          {.name = "--max-p99-ratio",
           .value_name = "R",
           .target = &o.ratio,
           .help = "pause when p99 is more than R times what it was before"},
          {.name = "--windows",
           .value_name = "N",
           .target = &o.windows,
           .help = "in so many windows in a row",
           .min = 1,
           .max = 100},
          {.name = "--window", .value_name = "TIME", .target = &o.window, .help = "of this length"},
          {.name = "--format",
           .value_name = "FORMAT",
           .target = &o.format,
           .help = "text, or json: one object a line for each change",
           .choices = {"text", "json"}}};
}

}  // namespace

void add_cluster(Commands& all) {
  auto safe = std::make_shared<SafeOptions>();
  all.push_back(
      {.path = "cluster safe-to-stop",
       .summary = "Which nodes may stop together now, and why not more",
       .details = "The largest set of nodes of one failure domain without which every range keeps enough in-sync\n"
                  "replicas for its commits, and somebody takes clients. It says so of this instant only. Returns 3\n"
                  "when no node may stop.",
       .options = {host_option(safe->host),
                   {.name = "--max",
                    .value_name = "N",
                    .target = &safe->max,
                    .help = "no more than so many; 0: as many as possible",
                    .min = 0,
                    .max = 1'000'000},
                   {.name = "--format",
                    .value_name = "FORMAT",
                    .target = &safe->format,
                    .help = "text or json",
                    .choices = {"text", "json"}}},
       .run = [safe] { return safe_to_stop(*safe); }});

  auto rolling = std::make_shared<RollingCliOptions>();
  all.push_back(
      {.path = "cluster rolling-restart",
       .summary = "Restart all nodes, batch by batch, without clients noticing",
       .details =
           "A task of the cluster: it goes on when this command ends, whichever node leads (docs/rolling.md). Each\n"
           "batch is what may stop together; the next one begins when the last is live, has caught up and has its\n"
           "leases, and clients feel no difference. It pauses by itself when they do; then this returns 3, and\n"
           "`outlast task resume ID` goes on. `outlast task pause ID` and `outlast task cancel ID` work at any "
           "time.\n\n"
           "  outlast cluster rolling-restart --dry-run\n"
           "  outlast cluster rolling-restart\n"
           "  outlast cluster rolling-restart --command='ssh db{node} systemctl restart outlast'",
       .options = rolling_options(*rolling),
       .run = [rolling] { return rolling_restart(*rolling); }});
}

}  // namespace outlast::cli
