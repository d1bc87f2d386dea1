// How it ends: stops, and what takes too long.
#include <algorithm>
#include <csignal>

#include "base/parse.h"
#include "run/machine.h"

namespace outlast::run {
namespace {
constexpr Instant kNever = Instant::max();
using Kind = Action::Kind;
}  // namespace

void Machine::stop(bool hard, Instant now) {
  if (state_ == State::kStopped) return;
  if (state_ != State::kStopping) return begin_stop(0, now);
  if (!hard) return;
  for (Process& p : processes_) {
    p.deadline = kNever;
    signal(p, SIGKILL, true);
  }
}

void Machine::begin_stop(int code, Instant now) {
  const State was = std::exchange(state_, State::kStopping);
  exit_code_ = code;
  event("stopping", serving(), "");
  tell("STOPPING=1\nSTATUS=stopping");
  if (was == State::kChecking) act({.kind = Kind::kEndCheck});
  for (Process& p : processes_) {
    if (p.role == Role::kCandidate) {
      p.role = Role::kRemnant;
      p.deadline = kNever;
      signal(p, SIGKILL, true);
    } else if (p.role == Role::kServing) {
      leave(p, Role::kServing, now);
    }
  }
  if (was == State::kChecking || was == State::kProving || was == State::kLeaving)
    finish("abandoned", "a stop came first", now);
  exit_when_empty();
}

void Machine::exit_when_empty() {
  if (!processes_.empty() || state_ == State::kStopped) return;
  state_ = State::kStopped;
  event("stopped", 0, "exit code " + std::to_string(exit_code_));
  act({.kind = Kind::kExit, .code = exit_code_});
}

void Machine::overdue(Process& process, Instant now) {
  const std::string waited = format_duration(settings_.ready_timeout);
  if (process.role == Role::kCandidate) return roll_back(process, "it was not ready within " + waited, now);
  process.deadline = kNever;
  const bool starting = process.role == Role::kServing && state_ != State::kStopping;
  event(
      "killed", process.id,
      starting ? "it was not ready within " + waited : "it was still there after " + format_duration(settings_.grace));
  if (process.role == Role::kLeaving) receipt_.killed = true;
  signal(process, SIGKILL, true);
}

void Machine::tick(Instant now) {
  if (state_ == State::kChecking && check_deadline_ <= now) {
    act({.kind = Kind::kEndCheck});
    check_ended(false, "did not end within " + format_duration(settings_.ready_timeout), now);
  }
  if (state_ == State::kWaiting && restart_at_ <= now) {
    state_ = State::kStarting;
    start(Role::kServing, now);
  }
  std::vector<int> late;
  for (const Process& p : processes_)
    if (p.deadline <= now) late.push_back(p.id);
  for (const int id : late)
    if (Process* const p = find(id)) overdue(*p, now);
}

Instant Machine::deadline() const {
  Instant first = kNever;
  if (state_ == State::kChecking) first = check_deadline_;
  if (state_ == State::kWaiting) first = restart_at_;
  for (const Process& p : processes_) first = std::min(first, p.deadline);
  return first;
}

}  // namespace outlast::run
