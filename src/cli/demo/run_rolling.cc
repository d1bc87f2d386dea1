// The scenario rolling-restart: the whole cluster is restarted by one command, again and again, behind a real balancer.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <fstream>

#include "cli/demo/run.h"
#include "cli/pg_connection.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr auto kAnswerLimit = 2s;
constexpr const char* kKind = "rolling-restart";

double seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}
LatencyTimeline::Offset offset(Duration since_start) {
  return std::chrono::duration_cast<LatencyTimeline::Offset>(since_start);
}
}  // namespace

/// Its command only stops a node: this process starts it again, as an init system would.
Result<void> Demo::start_rolling(RollingKind kind) {
  ASSIGN_OR_RETURN(const NodeFacts first, cluster_.facts(ready_node()));
  // Short windows, or most of the run would be waiting; what chance does to so few statements must not pause it.
  std::vector<std::string> words{"cluster", kKind, "--host=" + first.listen_addr, "--window=2s", "--max-p99-ratio=10"};
  if (kind == RollingKind::kCommand) {
    for (int i = 0; i < nodes(); ++i) {
      ASSIGN_OR_RETURN(const NodeFacts facts, cluster_.facts(i));
      std::ofstream(fmt::format("{}/{}.pid", dir_, facts.node.value)) << facts.pid << '\n';
    }
    words.push_back(fmt::format("--command=kill $(cat {}/{{node}}.pid)", dir_));
  }
  return cluster_.start_command(words, dir_ + "/rolling.log");
}

Result<proto::TaskStatus> Demo::newest_rolling() {
  ASSIGN_OR_RETURN(rpc::AdminClient* const client, admin(ready_node()));
  ASSIGN_OR_RETURN(const proto::TasksReply reply, client->tasks({}, kAnswerLimit));
  for (const proto::TaskStatus& task : reply.tasks())
    if (task.kind() == kKind) return task;
  return Error(Errc::kNotFound, "there is no such task");
}

std::vector<NodeProcesses> Demo::processes() const {
  std::vector<NodeProcesses> all;
  for (int i = 0; i < nodes(); ++i) {
    const auto facts = cluster_.facts(i);
    all.push_back(facts.ok() ? NodeProcesses{facts->pid, facts->worker_pid} : NodeProcesses{});
  }
  return all;
}

/// A node that was stopped by the command is started at once.
void Demo::start_stopped_nodes() {
  for (int i = 0; i < nodes(); ++i) {
    if (!is(i, NodeState::Phase::kReady) || cluster_.running(i)) continue;
    state(i) = {.phase = NodeState::Phase::kDown, .since = Steady::now(), .event = report_.events.size()};
    report_.events.push_back({seconds(elapsed()), "stop", i + 1, {}});
    healed_ = false;
  }
}

RollingRounds::Ports Demo::rolling_ports() {
  return {.start = [this](RollingKind kind) { return start_rolling(kind); },
          .exit_code = [this] { return cluster_.command_exit(); },
          .task = [this] { return newest_rolling(); },
          .processes = [this] { return processes(); },
          .healed = [this] { return healed_; },
          .say =
              [this](const std::string& line) {
                last_event_ = line.substr(std::min<std::size_t>(2, line.size()));
                board_.say(line);
              }};
}

void Demo::take_rolling(const LatencyTimeline& timeline) {
  report_.rounds = rolling_.turns();
  if (!rolling_.trouble().empty()) report_.complaints.push_back(rolling_.trouble());
  std::vector<LatencyTimeline::Window> windows;
  for (const RollingTurn& turn : report_.rounds) {
    windows.push_back({offset(turn.asked), offset(turn.over.value_or(elapsed()))});
    report_.restarts += turn.replaced;
  }
  const auto [during, rest] = timeline.split(windows);
  report_.p99_ratio = p99_ratio(during, rest);
}

}  // namespace outlast::cli
