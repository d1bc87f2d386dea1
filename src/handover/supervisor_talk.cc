#include <spdlog/spdlog.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <csignal>

#include "handover/atomic_file.h"
#include "handover/supervisor.h"

namespace outlast::handover {
using namespace std::chrono_literals;
using Kind = ControlMessage::Kind;
namespace json = boost::json;

namespace {
/// While the worker says that it drains: until its next word, and some.
constexpr std::int64_t kExtendMicros = 30'000'000;
constexpr Duration kPlanTakes = 30s;

ControlMessage say(Kind kind, std::string text) {
  return {.kind = kind, .node = {}, .incarnation = {}, .text = std::move(text)};
}

json::value parse_or_null(const std::string& text) {
  boost::system::error_code error;
  json::value value = json::parse(text, error);
  return error ? json::value(nullptr) : value;
}

bool says_old_died(const std::string& workers_half) {
  const json::value half = parse_or_null(workers_half);
  const json::value* const died = half.is_object() ? half.as_object().if_contains("old_died") : nullptr;
  return died != nullptr && died->is_bool() && died->as_bool();
}

std::string error_json(const std::string& sentence) {
  return json::serialize(json::object{{"error", sentence}});
}
}  // namespace

void Supervisor::read_control(Child& child) {
  while (child.control_fd >= 0) {
    auto message = receive_control(child.control_fd);
    if (!message.ok()) {
      close(std::exchange(child.control_fd, -1));
      return;
    }
    if (!message->has_value()) return;
    if ((*message)->fd >= 0) close((*message)->fd);
    on_message(child, **message);
  }
}

void Supervisor::on_message(Child& child, ControlMessage& message) {
  const bool is_next = &child == next_.get();
  const Who who = is_next ? Who::kNew : Who::kOld;
  switch (message.kind) {
    case Kind::kIncarnation:
      child.node = message.node;
      child.incarnation = message.incarnation;
      return;
    case Kind::kFatal:
      child.fatal = message.text;
      return;
    case Kind::kReady:
      child.ready = true;
      if (!message.text.empty()) child.version = message.text;
      if (is_next && next_alone_) return machine_.on_state(now(), Who::kNew, HandoverState::kOwned);
      if (&child == worker_.get()) on_serving(child);
      return;
    case Kind::kStatus:
      // Progress is what earns more time: a worker that hangs says nothing, and the manager's own limit holds.
      return tell_manager("STATUS=" + message.text +
                          (stopping_ ? "\nEXTEND_TIMEOUT_USEC=" + std::to_string(kExtendMicros) : ""));
    case Kind::kState:
      for (const HandoverState state : kAllHandoverStates)
        if (message.text == to_string(state) && state != HandoverState::kOwned) machine_.on_state(now(), who, state);
      return;
    case Kind::kOwned:
      if (!is_next) return;
      if (worker_) read_control(*worker_);  // it said that it had released before the new one could own anything
      workers_half_ = message.text;
      return machine_.on_owned(now(), says_old_died(message.text));
    case Kind::kRestart: {
      const std::string by = json_text(message.text, "by");
      const std::uint64_t id = trigger({.by = by.empty() ? "worker" : by, .binary = {}});
      (void)send_control(child.control_fd, say(Kind::kRestartStatus, accepted(id)));
      return;
    }
    case Kind::kPlan:
      if (plan_ && &child == worker_.get()) plan_->worker_report = message.text;
      return;
    case Kind::kReload:
      reload();
      return;
    case Kind::kUnknown:
    case Kind::kStop:
    case Kind::kHandOver:
    case Kind::kRestartStatus:
    case Kind::kEndSourceOnly:
    case Kind::kSourceOnly:
    case Kind::kLeaveFrontend:
    case Kind::kListener:
      return;
  }
}

void Supervisor::on_serving(Child& child) {
  child.ready = true;
  if (!options_.pid_file.empty() && !served_) {
    if (auto written = replace_file(options_.pid_file, std::to_string(getpid()) + "\n"); !written.ok())
      spdlog::error("supervisor: {}", written.error().message);
  }
  served_ = true;
  if (!machine_.busy() && !stopping_)
    tell_manager(std::string("READY=1\nSTATUS=") +
                 (source_only_ ? "source-only: nothing is stored until SIGWINCH" : "serving"));
  if (child.control_fd >= 0)
    (void)send_control(child.control_fd, say(Kind::kRestartStatus, status(machine_.state(), true)));
}

std::string Supervisor::status(HandoverState state, bool with_receipt) const {
  StatusFacts facts{.state = state,
                    .id = machine_.record().id != 0 ? machine_.record().id : log_.last_id(),
                    .queued = machine_.queued(),
                    .worker_pid = worker_ ? worker_->pid : 0,
                    .crash_loop = policy_.crash_loop() && !(worker_ && worker_->ready),
                    .version = worker_ && !worker_->version.empty() ? worker_->version : options_.version,
                    .receipt = with_receipt ? log_.last_receipt() : ""};
  return compose_status(facts);
}

/// Workers and whoever waits. A receipt in a waiter's answer is its own, and the last thing it gets.
void Supervisor::tell_everybody(HandoverState state) {
  const ControlMessage full = say(Kind::kRestartStatus, status(state, true));
  for (const Child* child : children())
    if (child->control_fd >= 0) (void)send_control(child->control_fd, full);
  if (waiters_.empty() || !socket_) return;
  const ControlMessage change = say(Kind::kRestartStatus, status(state, false));
  for (const Waiter& waiter : waiters_) socket_->answer(waiter.client, change, false);
}

void Supervisor::on_client(std::uint64_t client, const ControlMessage& message) {
  switch (message.kind) {
    case Kind::kRestart:
      ask_restart(client, message.text);
      break;
    case Kind::kRestartStatus:
      socket_->answer(client, say(Kind::kRestartStatus, status(machine_.state(), true)), true);
      break;
    case Kind::kPlan:
      ask_plan(client, json_text(message.text, "binary"));
      break;
    case Kind::kReload:
      socket_->answer(client, say(Kind::kReload, reload()), true);
      break;
    case Kind::kStop:
      socket_->answer(client, say(Kind::kStop, "{}"), true);
      on_signal(SIGTERM);
      break;
    default:
      socket_->answer(client, say(message.kind, error_json("the supervisor does not understand that")), true);
  }
  run_actions();
}

void Supervisor::ask_restart(std::uint64_t client, const std::string& text) {
  const json::value asked = parse_or_null(text);
  const std::string by = json_text(text, "by");
  const std::string binary = json_text(text, "binary");
  if (!asked.is_object() || (!binary.empty() && binary.front() != '/')) {
    const std::string why = asked.is_object() ? "the binary must be named by an absolute path"
                                              : "the request for a restart is no JSON object";
    return socket_->answer(client, say(Kind::kRestartStatus, error_json(why)), true);
  }
  const std::uint64_t id = trigger({.by = by.empty() ? "cli" : by, .binary = binary});
  const json::value* const wait = asked.as_object().if_contains("wait");
  const bool waits = id != 0 && wait != nullptr && wait->is_bool() && wait->as_bool();
  socket_->answer(client, say(Kind::kRestartStatus, accepted(id)), !waits);
  if (waits) waiters_.push_back({client, id});
}

/// The first answer to a request: the id whose receipt will be its receipt.
std::string Supervisor::accepted(std::uint64_t id) const {
  if (id == 0) return error_json("the node stops: it is not restarted");
  json::value answer = parse_or_null(status(machine_.state(), false));
  answer.as_object()["accepted"] = id;
  return json::serialize(answer);
}

/// Half of a plan is a trial, the other is what the worker would move; nothing is changed for it.
void Supervisor::ask_plan(std::uint64_t client, const std::string& binary) {
  if (plan_ && plan_->binary == binary) return plan_->clients.push_back(client);
  if (plan_)
    return socket_->answer(client, say(Kind::kPlan, error_json("another plan is being made: ask again")), true);
  plan_.emplace();
  plan_->binary = binary;
  plan_->clients.push_back(client);
  plan_->deadline = now() + kPlanTakes;
  auto lines = options_.command_lines();
  auto trial = lines.ok() ? Trial::start(with_program(binary.empty() ? options_.binary : binary, lines->trial))
                          : Result<std::unique_ptr<Trial>>(lines.error());
  if (trial.ok())
    plan_->trial = std::move(*trial);
  else
    plan_->trial_report = error_json(trial.error().message);
  const bool asked = worker_ && worker_->ready && send_control(worker_->control_fd, say(Kind::kPlan, "")).ok();
  if (!asked) plan_->worker_report = "null";
}

void Supervisor::look_at_plan() {
  if (!plan_) return;
  if (plan_->trial) {
    if (const auto result = plan_->trial->look()) {
      plan_->trial_report = result->refusal.empty() ? result->report : error_json(result->refusal);
      plan_->trial.reset();
    }
  }
  const bool whole = !plan_->trial_report.empty() && !plan_->worker_report.empty();
  if (!whole && now() < plan_->deadline) return;
  const std::string late = error_json("no answer within " + std::to_string(kPlanTakes / 1s) + " s");
  const json::object plan{{"trial", parse_or_null(plan_->trial_report.empty() ? late : plan_->trial_report)},
                          {"worker", parse_or_null(plan_->worker_report.empty() ? late : plan_->worker_report)}};
  for (const std::uint64_t client : plan_->clients)
    socket_->answer(client, say(Kind::kPlan, json::serialize(plan)), true);
  plan_.reset();
}

/// Reads the configuration again; the worker puts in force what can be. What it says is the answer.
std::string Supervisor::reload() {
  tell_manager(reloading());
  auto changes = options_.reload
                     ? options_.reload()
                     : Error(Errc::kInvalidState, "this node has no configuration that could be read again");
  const std::string text = changes.ok() ? *changes : error_json(changes.error().message);
  if (!changes.ok()) spdlog::error("supervisor: the configuration stays as it was: {}", changes.error().message);
  if (worker_ && worker_->control_fd >= 0) (void)send_control(worker_->control_fd, say(Kind::kReload, text));
  if (!machine_.busy())
    tell_manager("READY=1\nSTATUS=" + (changes.ok()
                                           ? std::string("serving")
                                           : "serving; the configuration stays as it was: " + changes.error().message));
  return text;
}

}  // namespace outlast::handover
