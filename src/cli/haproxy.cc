#include "cli/haproxy.h"

#include <spdlog/fmt/fmt.h>

#include "base/parse.h"
#include "placement/roles.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;

struct HostPort {
  std::string host, port;
};

Result<HostPort> split(const std::string& address, const proto::NodeStatus& node, const char* what) {
  const auto colon = address.rfind(':');
  if (colon != std::string::npos && colon + 1 < address.size())
    return HostPort{address.substr(0, colon), address.substr(colon + 1)};
  return Error(Errc::kInvalidArgument, fmt::format("node {} has no {} address: it has never served; start it, or "
                                                   "decommission it",
                                                   node.id(), what));
}

/// What a node listens on may be every address; then others know it by the host that it advertises.
bool is_any(const std::string& host) {
  return host.empty() || host == "0.0.0.0" || host == "*" || host == "[::]" || host == "::";
}

/// HAProxy reads one number with one unit.
std::string time(Duration d) {
  return d % 1s == 0ns ? fmt::format("{}s", d / 1s) : fmt::format("{}ms", d / 1ms);
}

Result<std::string> server_line(const proto::NodeStatus& node) {
  ASSIGN_OR_RETURN(const HostPort known, split(node.address(), node, "rpc"));
  ASSIGN_OR_RETURN(HostPort sql, split(node.sql_address(), node, "SQL"));
  ASSIGN_OR_RETURN(HostPort http, split(node.http_address(), node, "HTTP"));
  if (is_any(sql.host)) sql.host = known.host;
  if (is_any(http.host)) http.host = known.host;
  const std::string elsewhere = http.host == sql.host ? "" : " addr " + http.host;
  return fmt::format("  server node{} {}:{} check{} port {}\n", node.id(), sql.host, sql.port, elsewhere, http.port);
}

constexpr const char* kTemplate =
    R"(# Written by `outlast gen haproxy`. docs/operating.md gives the reason for each line.
# The cluster has to be told how long this balancer needs to notice a drain: more than (fall + 1) x inter.
#   SET CLUSTER SETTING server.shutdown.drain_wait = '{drain_wait}';
global
  maxconn 4096

defaults
  mode tcp
  # Sessions end when client or node ends them, not here: only keep-alive finds out that a machine is gone.
  timeout connect 3s
  timeout client 1h
  timeout server 1h
  timeout client-fin 30s
  timeout server-fin 30s
  # A busy node may answer late; a draining one says so at once.
  timeout check 2s
  option clitcpka
  option srvtcpka
  # A node that does not take the connection costs the client nothing: the next one is asked.
  retries 3
  option redispatch 1

listen outlast
  bind {bind}
  balance leastconn
  # Fails from the first instant of a drain, when the node still takes whoever comes.
  option httpchk GET /health?ready=1
  http-check expect status 200
  # No "on-marked-down shutdown-sessions": a node that drains is marked down too, and ends its sessions itself where
  # nothing of theirs is open.
  default-server inter {inter} fall {fall} rise {rise} slowstart {slowstart}
)";

}  // namespace

Duration least_drain_wait(const HaproxyOptions& options) {
  return (options.fall + 1) * options.inter;
}

Result<std::string> haproxy_config(const proto::NodeStatusReply& nodes, const HaproxyOptions& options) {
  std::string servers;
  for (const proto::NodeStatus& node : nodes.nodes()) {
    const auto roles = placement::parse_roles(node.roles());
    if (node.membership() == "decommissioned" || (roles.ok() && !roles->frontend)) continue;
    ASSIGN_OR_RETURN(const std::string line, server_line(node));
    servers += line;
  }
  if (servers.empty()) return Error(Errc::kInvalidArgument, "the cluster has no frontend to balance over");
  const Duration more = least_drain_wait(options) + std::max<Duration>(options.inter, 1s);
  return fmt::format(kTemplate, fmt::arg("bind", options.bind), fmt::arg("inter", time(options.inter)),
                     fmt::arg("fall", options.fall), fmt::arg("rise", options.rise),
                     fmt::arg("slowstart", time(5 * options.inter)), fmt::arg("drain_wait", format_duration(more))) +
         servers;
}

}  // namespace outlast::cli
