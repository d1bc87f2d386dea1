// What `node recommission` asks for and shows.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <boost/json/serialize.hpp>

#include "base/parse.h"
#include "cli/command.h"
#include "cli/node_decommission_follow.h"
#include "server/json_views.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr Duration kLookEvery = 250ms;
constexpr Duration kReturnLimit = 60s;  // A mark is taken away at once; a drain, too.

bool all_back(const proto::NodeStatusReply& cluster, const std::set<std::uint32_t>& nodes, bool drains_allowed) {
  return std::ranges::all_of(cluster.nodes(), [&](const proto::NodeStatus& node) {
    if (!nodes.contains(node.id())) return true;
    return node.membership() == "active" && (drains_allowed || !node.is_live() || !node.is_draining());
  });
}

bool is_over(const DecommissionPorts& ports, std::uint64_t task) {
  proto::TasksRequest request;
  request.set_task(task);
  const auto reply = ports.tasks(request);
  if (!reply.ok() || reply->tasks().empty()) return false;
  return reply->tasks(0).state() != "running" && reply->tasks(0).state() != "paused";
}

/// A drain that the task did not take back is somebody else's.
std::string drains_left(const proto::NodeStatusReply& cluster, const std::set<std::uint32_t>& nodes) {
  std::string text;
  for (const auto& node : cluster.nodes())
    if (nodes.contains(node.id()) && node.is_live() && node.is_draining())
      text += fmt::format("node {0} is drained still: `outlast node undrain {0}` lets it serve\n", node.id());
  return text;
}

int fail(const DecommissionPorts& ports, const std::string& sentence) {
  ports.err("outlast: " + sentence + "\n");
  return kFailed;
}
}  // namespace

int recommission(const DecommissionOptions& options, const DecommissionPorts& ports) {
  proto::DecommissionRequest request;
  request.set_action(proto::DecommissionRequest::RECOMMISSION);
  for (const std::uint32_t node : options.nodes) request.add_nodes(node);
  request.set_by(options.by);
  const auto reply = ports.decommission(request);
  if (!reply.ok()) return fail(ports, reply.error().message);
  if (!reply->code().empty()) return fail(ports, reply->message());
  proto::NodeStatusReply cluster;
  *cluster.mutable_nodes() = reply->nodes();
  const Duration began = ports.now();
  for (bool over = reply->task() == 0; !all_back(cluster, options.nodes, over);) {
    if (ports.now() - began >= kReturnLimit)
      return fail(ports,
                  fmt::format("{} did not return within {}; it is wanted, and task {} goes on: `outlast task show {}`",
                              nodes_text(options.nodes), format_duration(kReturnLimit), reply->task(), reply->task()));
    if (ports.pause(kLookEvery)) {
      ports.err(fmt::format("interrupted: {} will return all the same\n", nodes_text(options.nodes)));
      return kInterrupted;
    }
    over = is_over(ports, reply->task());  // before the nodes, which then are as it left them
    if (const auto now = ports.nodes(); now.ok()) cluster = *now;
  }
  if (options.json) {
    for (const auto& node : cluster.nodes())
      if (options.nodes.contains(node.id())) ports.out(boost::json::serialize(server::to_json(node)) + "\n");
    return kDone;
  }
  ports.out(decommission_table(cluster, options.nodes).table());
  ports.err(drains_left(cluster, options.nodes));
  return kDone;
}

}  // namespace outlast::cli
