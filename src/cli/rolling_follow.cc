#include "cli/rolling_follow.h"

#include <spdlog/fmt/fmt.h>

#include "cli/command.h"

namespace outlast::cli {
using namespace std::chrono_literals;
using lifecycle::RollingRecord;
using lifecycle::RollingStep;
using Action = proto::TasksRequest;

namespace {
constexpr Duration kLookEvery = 250ms;
constexpr Duration kLearntBy = 10s;  ///< Every node knows a new task by then.
constexpr Duration kBeatEvery = 3s;  ///< A claim is lost after 15 s of silence.
}  // namespace

RollingFollow::RollingFollow(RollingFollowOptions options, RollingFollowPorts ports)
    : options_(std::move(options)), ports_(std::move(ports)) {}

int RollingFollow::run() {
  const Duration began = ports_.now();
  for (;;) {
    const auto task = look();
    if (!task.ok()) {
      const bool unknown = task.error().code == Errc::kNotFound;
      if (unknown && ports_.now() - began > kLearntBy) return fail(task.error());
      if (!unknown) lost(task.error());  // whatever a node says while it starts or stops
    } else {
      if (std::exchange(lost_, false)) ports_.err("the cluster answers again\n");
      const auto record = lifecycle::decode_rolling_record(task->detail());
      if (!record.ok()) return fail(record.error());
      show(*task, *record);
      drive(*record);
      if (task->state() != "running" && !busy() && (task->state() != "paused" || !record->paused_why.empty()))
        return over(*task);
    }
    if (ports_.pause(kLookEvery) && !std::exchange(leaving_, true) && busy())
      ports_.err("interrupted: the command that runs is waited for, no other one begins\n");
    if (leaving_ && !busy()) {
      ports_.err(fmt::format("interrupted: task {} goes on; `outlast cluster rolling-restart --attach` follows it\n",
                             options_.task));
      return kInterrupted;
    }
  }
}

int RollingFollow::fail(const Error& why) {
  ports_.err("outlast: " + why.message + "\n");
  return kFailed;
}

Result<proto::TaskStatus> RollingFollow::look() {
  proto::TasksRequest request;
  request.set_task(options_.task);
  ASSIGN_OR_RETURN(const proto::TasksReply reply, ports_.ask(request));
  if (!reply.code().empty()) return Error(errc_from_name(reply.code()), reply.message());
  if (reply.tasks_size() == 0) return Error(Errc::kNotFound, fmt::format("there is no task {}", options_.task));
  return reply.tasks(0);
}

void RollingFollow::lost(const Error& why) {
  if (!std::exchange(lost_, true)) ports_.err("no node answers (" + why.message + "): the task goes on without us\n");
}

void RollingFollow::show(const proto::TaskStatus& task, const RollingRecord& record) {
  if (!options_.json) return ports_.err(progress_.take(task, record));
  if (task.detail() == last_) return;
  last_ = task.detail();
  ports_.out(last_ + "\n");
}

void RollingFollow::drive(const RollingRecord& record) {
  if (record.options.command.empty()) return;
  for (const RollingRecord::Node& node : record.nodes) drive_node(record, node);
}

/// One look at one node: claim it, run the command once it is ours, say that we are at it, report how it ended.
void RollingFollow::drive_node(const RollingRecord& record, const RollingRecord::Node& node) {
  const auto it = mine_.find(node.node);
  const bool ours = node.claim && node.claim->token == options_.token;
  const bool waits = node.step == RollingStep::kCommand, runs = node.step == RollingStep::kRunning;
  const auto tell = [&](Action::Action action) {
    proto::TasksRequest request;
    request.set_action(action);
    request.set_task(options_.task);
    request.set_node(node.node.value);
    request.set_token(options_.token);
    request.set_beat(++beat_);
    if (action == Action::REPORT) request.set_exit(mine_.at(node.node).exit.value_or(-1));
    const auto reply = ports_.ask(request);
    return reply.ok() && reply->code().empty();
  };
  if (it == mine_.end()) {
    if (waits && !node.claim && !leaving_) {
      tell(Action::CLAIM);
    } else if (runs && ours) {
      const auto begun = ports_.run(node.node, record.options.command);
      mine_[node.node] = {
          .running = begun.ok(), .exit = begun.ok() ? std::nullopt : std::optional<int>(127), .told = ports_.now()};
      if (!begun.ok()) ports_.err("outlast: " + begun.error().message + "\n");
    } else if (waits && ours && !leaving_ && ports_.now() - claimed_[node.node] > kBeatEvery) {
      tell(Action::CLAIM);
      claimed_[node.node] = ports_.now();
    }
    return;
  }
  Mine& mine = it->second;
  if (mine.running && (mine.exit = ports_.exit(node.node))) mine.running = false;
  if (!ours || (!waits && !runs)) {  // reported, or taken from us
    if (!mine.running) mine_.erase(it);
  } else if (!mine.running) {
    tell(Action::REPORT);
  } else if (ports_.now() - mine.told > kBeatEvery && tell(Action::CLAIM)) {
    mine.told = ports_.now();
  }
}

int RollingFollow::over(const proto::TaskStatus& task) {
  if (task.state() == "paused") {
    if (!options_.json)
      ports_.err(fmt::format("`outlast task resume {0}` goes on, `outlast task cancel {0}` ends it\n", task.id()));
    return kVerdictNegative;
  }
  if (!options_.json) ports_.out(fmt::format("{}: {}\n", task.state(), task.outcome()));
  return task.state() == "completed" ? kDone : kFailed;
}

}  // namespace outlast::cli
