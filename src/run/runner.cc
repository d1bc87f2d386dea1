#include "run/runner.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <ctime>

#include "handover/notify.h"

namespace outlast::run {
namespace {
using Kind = Action::Kind;

sigset_t read_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int s : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD}) sigaddset(&set, s);
  return set;
}

Result<std::pair<Output, int>> stderr_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return Error(Errc::kUnavailable, "no descriptors are left for another process");
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return std::pair<Output, int>(Output(ends[0]), ends[1]);
}
}  // namespace

Runner::Runner(RunnerOptions options, const std::vector<Listener>& listeners)
    : options_(std::move(options)), listeners_(listeners), reporter_(options_.json), machine_(options_.settings) {
  const sigset_t set = read_signals();
  signal_fd_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  prctl(PR_SET_CHILD_SUBREAPER, 1);  // orphans of a server become ours, so that their end is seen
}

Instant Runner::now() {
  timespec t{};
  clock_gettime(CLOCK_BOOTTIME, &t);
  return Instant(std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec));
}

Runner::~Runner() {
  close(signal_fd_);
}

void Runner::block_signals() {
  const sigset_t set = read_signals();
  sigprocmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

Runner::Child* Runner::find(int process) {
  const auto at = std::ranges::find(children_, process, &Child::process);
  return at == children_.end() ? nullptr : at->get();
}

void Runner::start(int process) {
  auto child = std::make_unique<Child>();
  auto notify = NotifySocket::open();
  auto errors = stderr_pipe();
  if (!notify.ok()) return machine_.start_failed(process, notify.error().message, 1, now());
  if (!errors.ok()) return machine_.start_failed(process, errors.error().message, 1, now());
  SpawnRequest request{options_.command, options_.environment, {}, errors->second, options_.settings.stop_signal};
  request.environment.push_back("NOTIFY_SOCKET=" + notify->name());
  for (const Listener& one : listeners_) request.sockets.push_back(one.fd);
  const auto pid = spawn(request);
  close(errors->second);
  if (!pid.ok()) {
    const bool absent = pid.error().code == Errc::kNotFound;
    return machine_.start_failed(process, pid.error().message, absent ? 127 : 126, now());
  }
  child->process = process;
  child->pid = *pid;
  child->errors = std::move(errors->first);
  child->notify = std::move(*notify);
  const ReadyRule::Kind rule = options_.ready.kind;
  if (rule == ReadyRule::Kind::kNone) child->ready_at = now();
  if (rule == ReadyRule::Kind::kExec) child->ready_at = now() + options_.ready_after;
  if (rule == ReadyRule::Kind::kTcp || rule == ReadyRule::Kind::kHttp)
    child->probe = std::make_unique<Probe>(options_.ready, *pid, request.sockets);
  children_.push_back(std::move(child));
  machine_.started(process, *pid);
}

void Runner::start_check() {
  auto errors = stderr_pipe();
  if (!errors.ok()) return machine_.check_ended(false, "cannot run: " + errors.error().message, now());
  const auto pid = spawn({{"/bin/sh", "-c", options_.check}, environment_for_children(), {}, errors->second, SIGKILL});
  close(errors->second);
  if (!pid.ok()) return machine_.check_ended(false, "cannot run: " + pid.error().message, now());
  check_pid_ = *pid;
  check_errors_ = std::move(errors->first);
}

void Runner::send(const Action& action) {
  const Child* const child = find(action.process);
  if (child == nullptr) return;
  if (action.kind == Kind::kSignalGroup) {
    kill(-child->pid, action.signal);
  } else if (child->main_alive) {
    kill(child->pid, action.signal);
    kill(-child->pid, SIGCONT);  // a stopped process cannot end
  }
}

void Runner::report(Receipt receipt) {
  receipt.queued = std::exchange(queued_, -1);
  const Child* const failed = find(receipt.failed_process);
  const auto tail = receipt.failed_process < 0 ? check_errors_.tail()
                    : failed != nullptr        ? failed->errors.tail()
                                               : std::deque<std::string>();
  if (failed != nullptr && failed->main_alive && failed->probe != nullptr) receipt.why += ": " + failed->probe->last();
  if (failed != nullptr && failed->main_alive && options_.ready.kind == ReadyRule::Kind::kNotify)
    receipt.why += ": it did not say READY=1 to NOTIFY_SOCKET";
  reporter_.receipt(receipt, tail);
}

void Runner::tell_manager(std::string text) {
  if (text.starts_with("RELOADING=1")) {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    text += "\nMONOTONIC_USEC=" + std::to_string(t.tv_sec * 1'000'000 + t.tv_nsec / 1000);
  }
  if (auto told = handover::notify_manager(text); !told.ok()) reporter_.event("manager", 0, told.error().message);
}

void Runner::tell_status(const Child& child, const std::string& status) {
  reporter_.event("status", child.pid, status);
  if (child.process == machine_.serving())
    tell_manager("STATUS=serving, process " + std::to_string(child.pid) + ": " + status);
}

void Runner::perform(const Action& action) {
  const Child* const child = find(action.process);
  switch (action.kind) {
    case Kind::kStart:
      return start(action.process);
    case Kind::kCheck:
      return start_check();
    case Kind::kEndCheck:
      if (check_pid_ != 0) kill(-check_pid_, SIGKILL);
      return;
    case Kind::kMeasure:
      queued_ = queued_connections(listeners_);
      return;
    case Kind::kSignal:
    case Kind::kSignalGroup:
      return send(action);
    case Kind::kTell:
      return tell_manager(action.text);
    case Kind::kEvent:
      return reporter_.event(action.text, child == nullptr ? 0 : child->pid, action.detail);
    case Kind::kReceipt:
      return report(*action.receipt);
    case Kind::kExit:
      exit_code_ = action.code;
      return;
  }
}

void Runner::perform() {
  for (auto actions = machine_.take(); !actions.empty(); actions = machine_.take())
    for (const Action& action : actions) perform(action);
}

int Runner::run() {
  for (const Listener& one : listeners_) reporter_.event("listening", 0, one.name + "=" + one.url);
  machine_.begin(now());
  perform();
  while (exit_code_ < 0) {
    wait();
    pump();
    on_signals();
    for (std::size_t i = 0; i < children_.size(); ++i) look_at(*children_[i], now());
    perform();
    sweep();
    machine_.tick(now());
    perform();
  }
  kill_descendants();  // those that left their group
  return exit_code_;
}

void Runner::pump() {
  stderr_full_ = false;
  for (const auto& child : children_) stderr_full_ |= !child->errors.pump(STDERR_FILENO);
  stderr_full_ |= !check_errors_.pump(STDERR_FILENO);
}

void Runner::on_signals() {
  signalfd_siginfo info{};
  while (read(signal_fd_, &info, sizeof info) == sizeof info) {
    const int signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGCHLD) reap();
    if (signal == SIGTERM || signal == SIGINT) machine_.stop(signal == SIGINT, now());
    if (signal == SIGUSR2 || signal == SIGHUP) machine_.reload(signal == SIGHUP ? "SIGHUP" : "SIGUSR2", now());
    const Child* const serving = find(machine_.serving());
    if (signal == SIGUSR1 && serving != nullptr && serving->main_alive) kill(serving->pid, SIGUSR1);
    perform();
  }
}

void Runner::hear(Child& child) {
  const auto is_ours = [&child](pid_t sender) { return sender == child.pid || getpgid(sender) == child.pid; };
  while (const auto notice = child.notify.receive(is_ours)) {
    if (!notice->status.empty()) tell_status(child, notice->status);
    if (notice->reloading) reporter_.event("says_reloading", child.pid, "");
    if (notice->stopping) reporter_.event("says_stopping", child.pid, "");
    if (notice->ready && options_.ready.kind == ReadyRule::Kind::kNotify) child.ready_at = Instant{};
  }
}

void Runner::look_at(Child& child, Instant at) {
  hear(child);
  if (child.ready || !child.main_alive) return;
  if (child.probe != nullptr && child.probe->step(at)) child.ready_at = at;
  if (child.ready_at > at) return;
  child.ready = true;
  machine_.ready(child.process, at);
}

}  // namespace outlast::run
