#include "run/machine.h"

#include <algorithm>
#include <csignal>
#include <cstring>

#include "base/parse.h"

namespace outlast::run {
namespace {
constexpr Instant kNever = Instant::max();
using Kind = Action::Kind;

int code_of(const Ending& ending, int stop_signal) {
  if (!ending.signalled) return ending.value;
  return ending.value == stop_signal ? 0 : 128 + ending.value;  // it went as it was asked to
}
}  // namespace

std::string to_string(const Ending& ending) {
  if (!ending.signalled) return "exited with code " + std::to_string(ending.value);
  const char* const name = sigabbrev_np(ending.value);
  return "was killed by " + (name == nullptr ? "signal " + std::to_string(ending.value) : "SIG" + std::string(name));
}

Machine::Process* Machine::find(int id) {
  const auto at = std::ranges::find(processes_, id, &Process::id);
  return at == processes_.end() ? nullptr : &*at;
}

Machine::Process* Machine::of(Role role) {
  const auto at = std::ranges::find(processes_, role, &Process::role);
  return at == processes_.end() ? nullptr : &*at;
}

int Machine::serving() const {
  const auto at = std::ranges::find(processes_, Role::kServing, &Process::role);
  return at == processes_.end() ? 0 : at->id;
}

void Machine::tell(const std::string& text) {
  act({.kind = Kind::kTell, .text = text});
}

void Machine::event(const std::string& name, int process, const std::string& detail) {
  act({.kind = Kind::kEvent, .process = process, .text = name, .detail = detail});
}

void Machine::signal(const Process& process, int signal, bool group) {
  act({.kind = group ? Kind::kSignalGroup : Kind::kSignal, .process = process.id, .signal = signal});
}

void Machine::start(Role role, Instant now) {
  const int id = ++last_process_;
  processes_.push_back({.id = id, .pid = 0, .role = role, .started = now, .deadline = now + settings_.ready_timeout});
  act({.kind = Kind::kStart, .process = id});
}

void Machine::begin(Instant now) {
  tell("STATUS=starting");
  start(Role::kServing, now);
}

void Machine::started(int process, int pid) {
  if (Process* const p = find(process)) p->pid = pid;
  event("started", process, "");
}

/// Asks `process` to go, and kills it when the grace is over.
void Machine::leave(Process& process, Role role, Instant now) {
  process.role = role;
  process.deadline = now + settings_.grace;
  signal(process, settings_.stop_signal, !process.main_alive);
}

void Machine::reload(const std::string& by, Instant now) {
  switch (state_) {
    case State::kServing:
      return begin_reload(by, now);
    case State::kWaiting:  // perhaps what made it crash has been mended
      state_ = State::kStarting;
      return start(Role::kServing, now);
    case State::kStarting:
    case State::kChecking:
    case State::kProving:
    case State::kLeaving:
      ++waiting_triggers_;
      return;
    case State::kStopping:
    case State::kStopped:
      return;
  }
}

void Machine::begin_reload(const std::string& by, Instant now) {
  receipt_ = {.id = ++reloads_, .by = by, .triggers = std::max(1, std::exchange(waiting_triggers_, 0))};
  if (const Process* const old = of(Role::kServing)) receipt_.from_pid = old->pid;
  reload_began_ = step_began_ = now;
  event("reload_started", serving(), "reload " + std::to_string(receipt_.id) + " by " + by);
  tell("RELOADING=1\nSTATUS=reloading");
  if (!settings_.check) return prove(now);
  state_ = State::kChecking;
  check_deadline_ = now + settings_.ready_timeout;
  act({.kind = Kind::kCheck});
}

void Machine::check_ended(bool ok, const std::string& why, Instant now) {
  if (state_ != State::kChecking) return;
  receipt_.check = now - step_began_;
  if (ok) return prove(now);
  receipt_.failed_process = -1;
  finish("refused", "the check " + why, now);
}

void Machine::prove(Instant now) {
  state_ = State::kProving;
  step_began_ = now;
  start(Role::kCandidate, now);
}

void Machine::start_failed(int process, const std::string& why, int code, Instant now) {
  Process* const p = find(process);
  if (p == nullptr) return;
  const bool candidate = p->role == Role::kCandidate;
  const Instant began = p->started;
  std::erase_if(processes_, [process](const Process& one) { return one.id == process; });
  event("start_failed", process, why);
  if (candidate) {
    finish("rolled_back", why, now);
  } else if (!announced_ && last_process_ == 1) {
    exit_code_ = code;
    begin_stop(code, now);
  } else {
    start_later(began, now);
  }
}

void Machine::ready(int process, Instant now) {
  Process* const p = find(process);
  if (p == nullptr || !p->main_alive) return;
  if (p->role == Role::kCandidate && state_ == State::kProving) {
    event("ready", process, "");
    change_over(*p, now);
  } else if (p->role == Role::kServing && state_ == State::kStarting) {
    p->deadline = kNever;
    event("ready", process, "");
    serve(now);
  }
}

/// One process serves and nothing else is under way.
void Machine::serve(Instant now) {
  state_ = State::kServing;
  const Process* const p = of(Role::kServing);
  tell("READY=1\nSTATUS=serving, process " + std::to_string(p == nullptr ? 0 : p->pid));
  announced_ = true;
  if (waiting_triggers_ > 0) begin_reload("again", now);
}

void Machine::change_over(Process& candidate, Instant now) {
  receipt_.ready = now - step_began_;
  receipt_.to_pid = candidate.pid;
  step_began_ = now;
  act({.kind = Kind::kMeasure});
  Process* const old = of(Role::kServing);
  if (old != nullptr) leave(*old, Role::kLeaving, now);
  candidate.role = Role::kServing;
  candidate.deadline = kNever;
  state_ = State::kLeaving;
  if (old == nullptr) finish("completed", "the old process had ended by itself", now);
}

void Machine::finish(const std::string& outcome, const std::string& why, Instant now) {
  receipt_.outcome = outcome;
  receipt_.why = why;
  if (state_ == State::kLeaving) receipt_.left = now - step_began_;
  receipt_.total = now - reload_began_;
  act({.kind = Kind::kReceipt, .receipt = receipt_});
  if (state_ == State::kStopping) return;
  if (of(Role::kServing) != nullptr) return serve(now);
  start_later(now - std::chrono::hours(1), now);  // the old process ended during the reload
}

void Machine::roll_back(Process& candidate, const std::string& why, Instant now) {
  candidate.role = Role::kRemnant;
  candidate.deadline = kNever;
  signal(candidate, SIGKILL, true);
  receipt_.to_pid = candidate.pid;
  receipt_.ready = now - step_began_;
  receipt_.failed_process = candidate.id;
  finish("rolled_back", why, now);
}

void Machine::start_later(Instant started, Instant now) {
  const Duration delay = policy_.on_exit(started, now);
  if (policy_.crash_loop()) {
    event("crash_loop", 0, "it ends again and again; next start in " + format_duration(delay));
    tell("STATUS=crash loop: it ends again and again, see its log");
  } else if (delay > Duration::zero()) {
    tell("STATUS=it ended by itself and starts again in " + format_duration(delay));
  }
  if (delay > Duration::zero()) {
    state_ = State::kWaiting;
    restart_at_ = now + delay;
    return;
  }
  state_ = State::kStarting;
  start(Role::kServing, now);
}

void Machine::main_exited(int process, const Ending& ending, Instant now) {
  Process* const p = find(process);
  if (p == nullptr) return;
  p->main_alive = false;
  if (p->role == Role::kCandidate) return roll_back(*p, to_string(ending) + " before it was ready", now);
  if (p->role == Role::kServing && state_ != State::kStopping) return crashed(*p, ending, now);
  if (p->role == Role::kServing) exit_code_ = code_of(ending, settings_.stop_signal);
  if (p->role != Role::kRemnant && p->deadline != kNever) signal(*p, settings_.stop_signal, true);
}

void Machine::crashed(Process& process, const Ending& ending, Instant now) {
  const Instant began = process.started;
  event("ended", process.id, to_string(ending));
  leave(process, Role::kRemnant, now);
  if (state_ == State::kProving) return;  // the candidate is next
  if (settings_.restart == Restart::kNever ||
      (settings_.restart == Restart::kOnFailure && !ending.signalled && ending.value == 0)) {
    return begin_stop(code_of(ending, 0), now);
  }
  if (state_ == State::kChecking) {
    act({.kind = Kind::kEndCheck});
    state_ = State::kServing;
    return finish("abandoned", "the serving process ended during the check, and starts again anyway", now);
  }
  if (state_ == State::kLeaving) {
    if (Process* const old = of(Role::kLeaving)) old->role = Role::kRemnant;  // it keeps what is left of its grace
    receipt_.failed_process = process.id;
    return finish("completed", "the new process ended soon after it was ready, and starts again", now);
  }
  start_later(began, now);
}

void Machine::gone(int process, Instant now) {
  const Process* const p = find(process);
  if (p == nullptr) return;
  const bool leaving = p->role == Role::kLeaving;
  std::erase_if(processes_, [process](const Process& one) { return one.id == process; });
  if (state_ == State::kStopping) return exit_when_empty();
  if (leaving && state_ == State::kLeaving) finish("completed", "", now);
}

}  // namespace outlast::run
