// stop: gracefully, in the manner of its roles, or hard.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <memory>
#include <thread>

#include "base/parse.h"
#include "cli/groups.h"
#include "cli/local_cluster.h"
#include "cli/supervisor_link.h"
#include "rpc/client.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;
constexpr Duration kAnswerLimit = 5s, kPoll = 20ms, kDrainTimeout = 10min, kFrontendTimeout = 60s, kKilledIn = 30s;

struct StopOptions {
  std::string store, host, roles, timeout_text;
  Duration timeout{0};  ///< 0: not said.
  bool graceful{false}, hard{false}, force{false};
};

int fail(const Error& error) {
  std::fprintf(stderr, "outlast: %s\n", error.message.c_str());
  return error.code == Errc::kInvalidArgument ? kUsage : kFailed;
}

Result<NodeFacts> node_of(const std::string& store) {
  std::ifstream in(store + "/NODE.json");
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  if (Result<NodeFacts> facts = parse_node_facts(text); facts.ok()) return facts;
  return Error(Errc::kInvalidArgument,
               "there is no node to stop at --store=" + store + ": name a store that is in use, or --host=HOST:PORT");
}

/// One that has ended and that its parent has not asked for yet is gone.
bool lives(pid_t pid) {
  if (pid <= 0 || ::kill(pid, 0) != 0) return false;
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(in, text);
  const std::size_t name_end = text.rfind(')');
  return name_end == std::string::npos || name_end + 2 >= text.size() || text[name_end + 2] != 'Z';
}

Result<void> ask_supervisor_to_stop(const std::string& store, pid_t worker) {
  auto link = SupervisorLink::connect(store);
  if (!link.ok() && lives(worker))
    return Error(Errc::kUnavailable, "nobody supervises the collector at --store=" + store + " now, and its process " +
                                         std::to_string(worker) +
                                         " serves on: end that with SIGTERM, or start the collector again first");
  if (!link.ok()) return link.error();
  TRY(link->send(handover::ControlMessage::Kind::kStop, "{}"));
  ASSIGN_OR_RETURN(const auto answer, link->receive(kAnswerLimit));
  if (answer) return {};
  return Error(Errc::kDeadline, "the supervisor at --store=" + store + " does not answer: see its log");
}

/// True: the process goes on, only its frontend leaves.
Result<bool> ask_node(const StopOptions& o, const NodeFacts& node, Duration timeout) {
  proto::StopRequest request;
  request.set_graceful(o.graceful);
  request.set_roles(o.roles);
  request.set_force(o.force);
  if (o.graceful) request.set_timeout_ms(static_cast<std::uint64_t>(timeout / 1ms));
  const Duration limit = timeout > 0s ? std::min<Duration>(timeout, kAnswerLimit) : kAnswerLimit;
  ASSIGN_OR_RETURN(const proto::StopReply reply, rpc::AdminClient(node.listen_addr).stop(request, limit));
  if (!reply.code().empty()) return Error(errc_from_name(reply.code()), reply.message());
  return reply.stays();
}

bool wait_for_end(pid_t pid, Duration timeout) {
  for (const auto end = Steady::now() + timeout; lives(pid); std::this_thread::sleep_for(kPoll))
    if (Steady::now() > end) return false;
  return true;
}

/// The supervisor first, or it would start another worker. Nothing acknowledged is lost: the others go on, and the
/// store recovers as after every crash.
int kill_node(const StopOptions& o, const NodeFacts& node, const std::string& why) {
  std::fprintf(stderr, "%s: SIGKILL\n", why.c_str());
  if (lives(node.pid)) ::kill(node.pid, SIGKILL);
  pid_t worker = node.worker_pid;
  if (const auto now = node_of(o.store); now.ok() && now->pid == node.pid) worker = now->worker_pid;
  if (lives(worker)) ::kill(worker, SIGKILL);
  if (!wait_for_end(node.pid, kKilledIn) || !wait_for_end(worker, kKilledIn))
    return fail(Error(Errc::kDeadline, "the process " + std::to_string(lives(node.pid) ? node.pid : worker) +
                                           " does not end on SIGKILL: it waits for its disk"));
  std::puts("ok");
  return kDone;
}

/// How long a graceful exit may take before SIGKILL; 0: as long as it takes.
Duration exit_timeout(const StopOptions& o, const NodeFacts& node) {
  if (o.timeout > 0s) return o.timeout;
  return node.roles == "frontend" || o.roles == "frontend" ? kFrontendTimeout : Duration(0);
}

int exit_gracefully(const StopOptions& o, const NodeFacts& node) {
  const Duration timeout = exit_timeout(o, node);
  const auto began = Steady::now();
  const auto asked = ask_node(o, node, o.timeout);
  const bool refused = !asked.ok() && asked.error().code != Errc::kUnavailable && asked.error().code != Errc::kDeadline;
  if (refused || (!asked.ok() && (timeout == 0s || node.pid == 0))) return fail(asked.error());
  if (!asked.ok()) std::fprintf(stderr, "outlast: %s\n", asked.error().message.c_str());
  if (asked.ok() && *asked) {
    std::fprintf(stderr, "the frontend leaves; the process goes on as %s\n",
                 node.roles.substr(node.roles.find(',') + 1).c_str());
    std::puts("ok");
    return kDone;
  }
  const Duration left = timeout == 0s ? kDrainTimeout : timeout - std::min<Duration>(timeout, Steady::now() - began);
  if (wait_for_end(node.pid, left)) {
    std::puts("ok");
    return kDone;
  }
  const std::string name = "the node (process " + std::to_string(node.pid) + ") ";
  if (timeout > 0s) return kill_node(o, node, name + "has not ended after " + format_duration(timeout));
  return fail(Error(Errc::kDeadline, name + "still exits after " + format_duration(kDrainTimeout) +
                                         ": its log and `GET /api/drain` say what it waits for; ask again to go on "
                                         "waiting, or say --timeout to have it killed then"));
}

/// Asks the node to stop and waits until its supervisor has let go of the store.
int drain_and_stop(const StopOptions& o, const NodeFacts& node) {
  const bool collector = node.listen_addr.empty();
  if (collector) {
    if (const auto asked = ask_supervisor_to_stop(o.store, node.worker_pid); !asked.ok()) return fail(asked.error());
  } else if (const auto asked = ask_node(o, node, 0s); !asked.ok()) {
    return fail(asked.error());
  }
  const Duration timeout = o.timeout > 0s ? o.timeout : kDrainTimeout;
  if (!wait_for_end(node.pid, timeout))
    return fail(Error(Errc::kDeadline, "the node (process " + std::to_string(node.pid) + ") still drains after " +
                                           format_duration(timeout) +
                                           ": its log and, of a node with a database, `GET /api/drain` say what it "
                                           "waits for; ask again to go on waiting"));
  std::puts("ok");
  return kDone;
}

/// "90s", and as in other systems' scripts "90".
Result<Duration> timeout_of(const std::string& text) {
  if (text.empty()) return Duration(0);
  const auto whole = parse_int(text);
  ASSIGN_OR_RETURN(const Duration read,
                   whole.ok() ? Result<Duration>(std::chrono::seconds(*whole)) : parse_duration(text));
  if (read > Duration(0)) return read;
  return Error(Errc::kInvalidArgument, "--timeout is longer than 0s");
}

int stop_node(StopOptions& o) {
  const auto timeout = timeout_of(o.timeout_text);
  if (!timeout.ok()) return fail(timeout.error());
  o.timeout = *timeout;
  if (o.store.empty() == o.host.empty())
    return fail(Error(Errc::kInvalidArgument, "name the node: --store=DIR on this machine, or --host=HOST:PORT"));
  if (o.graceful && o.hard)
    return fail(Error(Errc::kInvalidArgument, "-g and --hard contradict each other: say one of them"));
  if (o.hard && o.store.empty())
    return fail(Error(Errc::kInvalidArgument, "--hard is a signal: it needs --store, on the node's own machine"));
  if (!o.roles.empty() && !o.graceful)
    return fail(Error(Errc::kInvalidArgument, "--roles goes with -g: without it the whole process stops"));
  NodeFacts node;
  node.listen_addr = o.host;
  if (!o.store.empty()) {
    Result<NodeFacts> facts = node_of(o.store);
    if (!facts.ok()) return fail(facts.error());
    node = *facts;
  }
  if (o.hard) return kill_node(o, node, "the node (process " + std::to_string(node.pid) + ")");
  if (o.graceful && !node.listen_addr.empty()) return exit_gracefully(o, node);
  return drain_and_stop(o, node);
}
}  // namespace

void add_stop(Commands& all) {
  auto o = std::make_shared<StopOptions>();
  all.push_back(
      {.path = "stop",
       .summary = "Stop a node",
       .details =
           "Without -g the full drain, as SIGTERM: hands the node's leases to other nodes, ends its sessions (57P01)\n"
           "and waits until the process is gone. With -g each role leaves in its own way (docs/graceful-exit.md): a\n"
           "frontend lets statements finish, a backend or compute node the fragments that run there. The last live\n"
           "frontend or backend is not stopped by -g without --force.\n\n"
           "  outlast stop --store=/data/n1\n"
           "  outlast stop -g --timeout=600s --store=/data/n1",
       .options = {{.name = "--store",
                    .value_name = "DIR",
                    .target = &o->store,
                    .help = "the store of the node on this machine"},
                   {.name = "--host",
                    .value_name = "HOST:PORT",
                    .target = &o->host,
                    .help = "or its --listen-addr; then only asks, without waiting"},
                   {.name = "-g,--graceful",
                    .value_name = "",
                    .target = &o->graceful,
                    .help = "a graceful exit instead of the full drain"},
                   {.name = "--timeout",
                    .value_name = "TIME",
                    .target = &o->timeout_text,
                    .help =
                        "how long to wait; with -g SIGKILL follows then (a frontend: after 60s if not said, others: "
                        "never). A number alone is seconds"},
                   {.name = "--roles",
                    .value_name = "LIST",
                    .target = &o->roles,
                    .help = "with -g: `frontend` leaves alone and the process goes on; empty: all of its roles"},
                   {.name = "--force",
                    .value_name = "",
                    .target = &o->force,
                    .help = "with -g: also the last live frontend or backend"},
                   {.name = "--hard",
                    .value_name = "",
                    .target = &o->hard,
                    .help = "SIGKILL at once; the next start recovers, acknowledged writes are not lost"}},
       .run = [o] { return stop_node(*o); }});
}

}  // namespace outlast::cli
