// The scenario drain: a rolling restart behind a real balancer, with the settings that docs/operating.md recommends,
// scaled down so that nine drains fit into a minute and a half.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstdio>

#include "base/parse.h"
#include "cli/demo/run.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr auto kAnswerLimit = 2s;

constexpr Duration kInter = 200ms;
constexpr int kFall = 2, kRise = 2;
constexpr Duration kLifetime = 1s;  ///< Of a client's connection.
constexpr Duration kPause = 5ms;    ///< Between a client's transactions, so that latencies are not those of a queue.
constexpr Duration kDrainWait = 1s, kConnectionWait = 2s, kQueryWait = 5s;
static_assert(kDrainWait > (kFall + 1) * kInter, "the balancer notices before clients are refused");
static_assert(kConnectionWait > kLifetime, "sessions leave by themselves before they are told to");

Result<void> set(PgConnection& connection, const std::string& name, Duration value) {
  const PgReply reply =
      connection.run(fmt::format("SET CLUSTER SETTING {} = '{}'", name, format_duration(value)), kAnswerLimit);
  if (reply.ok) return {};
  return Error(Errc::kInvalidState, fmt::format("cannot set {}: {} {}", name, reply.sqlstate, reply.message));
}
}  // namespace

Result<void> Demo::start_balancer() {
  ASSIGN_OR_RETURN(PgConnection sql, PgConnection::connect(cluster_.sql_url(0), "", 10s));
  TRY(set(sql, "server.shutdown.drain_wait", kDrainWait));
  TRY(set(sql, "server.shutdown.connection_wait", kConnectionWait));
  TRY(set(sql, "server.shutdown.query_wait", kQueryWait));
  ASSIGN_OR_RETURN(const NodeFacts facts, cluster_.facts(0));
  ASSIGN_OR_RETURN(const proto::NodeStatusReply status, rpc::AdminClient(facts.listen_addr).node_status(kAnswerLimit));
  TRY(haproxy_.start(dir_, status, {.inter = kInter, .fall = kFall, .rise = kRise}));
  fmt::print(
      "haproxy balances at {}; health checks every {}, drain_wait {}, connection_wait {}, connections live {}\n\n",
      haproxy_.address(), format_duration(kInter), format_duration(kDrainWait), format_duration(kConnectionWait),
      format_duration(kLifetime));
  std::fflush(stdout);
  return {};
}

/// Clients know the balancer only, and repeat nothing.
WorkloadPlan Demo::naive_plan() const {
  WorkloadPlan plan = plan_;
  plan.urls = {"postgresql://root@" + haproxy_.address() + "/defaultdb?sslmode=disable"};
  plan.naive = true;
  plan.lifetime = kLifetime;
  plan.pause = kPause;
  return plan;
}

Result<rpc::AdminClient*> Demo::admin(int node) {
  ASSIGN_OR_RETURN(const NodeFacts facts, cluster_.facts(node));
  auto& client = admins_[facts.listen_addr];
  if (client == nullptr) client = std::make_unique<rpc::AdminClient>(facts.listen_addr);
  return client.get();
}

Result<proto::DrainReply> Demo::ask_drain(int node, const proto::DrainRequest& request) {
  ASSIGN_OR_RETURN(rpc::AdminClient* const client, admin(node));
  return client->drain(request, kAnswerLimit);
}

bool Demo::leases_level() const {
  const auto [least, most] = std::ranges::minmax(states_, {}, &NodeState::leases);
  return least.leases >= 0 && most.leases - least.leases < 2;
}

DrainRounds::Ports Demo::drain_ports() {
  return {.ask = [this](int node, const proto::DrainRequest& request) { return ask_drain(node, request); },
          .stop =
              [this](int node) {
                state(node).phase = NodeState::Phase::kMaintained;
                cluster_.ask_to_stop(node);
              },
          .running = [this](int node) { return cluster_.running(node); },
          .start = [this](int node) { return cluster_.start(node); },
          .ready =
              [this](int node) {
                if (!cluster_.ready(node).ok()) return false;
                state(node).phase = NodeState::Phase::kReady;
                healed_ = false;  // until somebody has looked
                return true;
              },
          .healed = [this] { return healed_ && leases_level(); },
          .say =
              [this](const std::string& line) {
                last_event_ = line.substr(std::min<std::size_t>(2, line.size()));
                board_.say(line);
              }};
}

}  // namespace outlast::cli
