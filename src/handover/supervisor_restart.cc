#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

#include "handover/supervisor.h"

namespace outlast::handover {
namespace {
using Do = RestartMachine::Do;
using State = HandoverState;

std::string_view words_for(State state) {
  switch (state) {
    case State::kTrial:
      return "restarting: tries the new binary";
    case State::kStandby:
      return "restarting: the new worker starts";
    case State::kSessions:
      return "restarting: sessions and leases move to the new worker";
    case State::kStorageReleased:
      return "restarting: the new worker opens the store";
    case State::kOwned:
      return "restarting: the new worker serves, the old one leaves";
    case State::kDone:
      return "restarted";
    case State::kIdle:
      return "serving";
  }
  return "";
}
}  // namespace

/// What a reload says to a manager of Type=notify-reload, too (sd_notify(3)): from then on until READY=1.
std::string reloading() {
  timespec at{};
  clock_gettime(CLOCK_MONOTONIC, &at);
  return "RELOADING=1\nMONOTONIC_USEC=" + std::to_string(at.tv_sec * 1'000'000 + at.tv_nsec / 1000);
}

std::uint64_t Supervisor::trigger(RestartRequest request) {
  const std::uint64_t id = machine_.trigger(now(), std::move(request));
  if (auto kept = log_.note_id(machine_.last_id()); !kept.ok()) spdlog::warn("supervisor: {}", kept.error().message);
  return id;
}

void Supervisor::run_actions() {
  for (;;) {
    const auto actions = machine_.take_actions();
    for (const RestartMachine::Action& action : actions) act(action);
    if (!actions.empty()) continue;
    if (machine_.state() != State::kIdle || !machine_.queued()) return;
    machine_.begin_queued(now());
  }
}

void Supervisor::act(const RestartMachine::Action& action) {
  switch (action.what) {
    case Do::kEntered:
      return on_entered(action.state);
    case Do::kTry:
      return start_trial();
    case Do::kEndTrial:
      return trial_.reset();
    case Do::kStart:
      return start_next();
    case Do::kKillNew:
      return kill_child(next_);
    case Do::kKillOld:
      return kill_child(action.state == State::kOwned || action.state == State::kDone ? old_ : worker_);
    case Do::kReceipt:
      return make_receipt(action.state);
    case Do::kStop:
      return pass_stop();
    case Do::kGiveUp:
      std::fprintf(stderr, "outlast: %s\n", fatal_.empty() ? "the worker cannot run; see the log" : fatal_.c_str());
      exit_code_ = kExitFatal;
      return;
  }
}

void Supervisor::on_entered(State state) {
  hold_point("supervisor", state);
  spdlog::info("supervisor: restart {}: {}", machine_.record().id, to_string(state));
  const std::string what = "STATUS=" + std::string(words_for(state));
  if (state == State::kTrial)
    tell_manager(reloading() + "\n" + what);
  else if (state != State::kIdle)
    tell_manager(what);
  else if (worker_ && worker_->ready && !stopping_)
    tell_manager("READY=1\n" + what);
  tell_everybody(state);
}

void Supervisor::start_trial() {
  restart_began_micros_ = options_.clock->wall_micros();
  workers_half_.clear();
  from_version_ = worker_ && !worker_->version.empty() ? worker_->version : options_.version;
  to_version_.clear();
  target_ = machine_.record().request.binary.empty() ? options_.binary : machine_.record().request.binary;
  auto lines = options_.command_lines();
  if (!lines.ok()) return machine_.on_trial(now(), lines.error().message, false);
  target_lines_ = std::move(*lines);
  auto sockets = options_.bind ? options_.bind(listeners_) : Result<Listeners>(listeners_);
  if (!sockets.ok()) return machine_.on_trial(now(), sockets.error().message, false);
  next_listeners_ = std::move(*sockets);
  auto trial = Trial::start(with_program(target_, target_lines_.trial));
  if (!trial.ok()) return machine_.on_trial(now(), trial.error().message, false);
  trial_ = std::move(*trial);
}

void Supervisor::look_at_trial() {
  if (!trial_) return;
  const std::optional<Trial::Result> result = trial_->look();
  if (!result) return;
  trial_.reset();
  to_version_ = result->version;
  machine_.on_trial(now(), result->refusal, worker_ && worker_->ready);
  run_actions();
}

/// Beside the old worker both get an end of a pair; without one the new worker starts as any does.
void Supervisor::start_next() {
  const bool old_binary = machine_.record().old_binary;
  next_alone_ = !worker_;
  int pair[2] = {-1, -1};
  if (worker_ && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
    return machine_.on_death(now(), Who::kNew, std::string("cannot make a socket pair: ") + std::strerror(errno));
  std::vector<std::string> words = old_binary && !lines_.worker.empty() ? lines_.present() : target_lines_.worker;
  if (worker_) words.emplace_back("--standby");
  const std::string& program = old_binary ? present_ : target_;
  auto started =
      start_worker(program, worker_words(old_binary ? options_.binary : target_, words), next_listeners_, pair[0]);
  if (worker_ && started.ok()) {
    // A worker that does not take it hangs or is gone: its end or the time limit says which.
    (void)send_control(worker_->control_fd, {.kind = ControlMessage::Kind::kHandOver,
                                             .node = {},
                                             .incarnation = {},
                                             .text = std::to_string(machine_.record().id),
                                             .fd = pair[1]});
  }
  for (const int fd : pair)
    if (fd >= 0) close(fd);
  if (!started.ok()) return machine_.on_death(now(), Who::kNew, started.error().message);
  next_ = std::move(*started);
  next_->started = now();
  spdlog::info("supervisor: worker {} started, restart {}", next_->pid, machine_.record().id);
}

/// In kOwned the new worker becomes the present one, and the old one waits for this receipt; in kDone it is complete.
void Supervisor::make_receipt(State state) {
  const RestartRecord& record = machine_.record();
  if (state == State::kOwned) {
    old_ = std::move(worker_);
    worker_ = std::move(next_);
    close_gone(listeners_, next_listeners_);
    listeners_ = next_listeners_;
    worker_->ready = true;
    if (!worker_->version.empty()) to_version_ = worker_->version;
    if (!record.old_binary) {
      present_ = same_file(target_, "/proc/self/exe") ? "/proc/self/exe" : target_;
      options_.binary = target_;
      lines_ = target_lines_;
      upgrade_wanted_ = present_ == target_;
    }
    on_serving(*worker_);
  }
  if (state == State::kDone) {  // what was bound for a restart that did not come to its end
    close_gone(next_listeners_, listeners_);
    next_listeners_ = listeners_;
  }
  const ReceiptFacts facts{.from_version = from_version_,
                           .to_version = to_version_,
                           .workers_half = workers_half_,
                           .started_at_micros = restart_began_micros_};
  const std::string receipt = compose_receipt(record, facts);
  if (auto kept = log_.add(record.id, receipt); !kept.ok()) spdlog::error("supervisor: {}", kept.error().message);
  if (state == State::kDone) spdlog::info("supervisor: receipt {}", receipt);
  tell_everybody(state);
  if (state != State::kDone || !socket_) return;
  const ControlMessage last{
      .kind = ControlMessage::Kind::kRestartStatus, .node = {}, .incarnation = {}, .text = status(state, true)};
  std::erase_if(waiters_, [&](const Waiter& waiter) {
    if (waiter.restart > record.id) return false;
    socket_->answer(waiter.client, last, true);
    return true;
  });
}

}  // namespace outlast::handover
