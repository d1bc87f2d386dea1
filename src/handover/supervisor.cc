#include "handover/supervisor.h"

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "handover/notify.h"

namespace outlast::handover {
using namespace std::chrono_literals;

namespace {
sigset_t supervised_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int s : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGCHLD}) sigaddset(&set, s);
  return set;
}

std::optional<lifecycle::Signal> known_signal(int signal) {
  switch (signal) {
    case SIGTERM:
      return lifecycle::Signal::kTerm;
    case SIGINT:
      return lifecycle::Signal::kInt;
    case SIGHUP:
      return lifecycle::Signal::kHup;
    case SIGUSR1:
      return lifecycle::Signal::kUsr1;
    case SIGUSR2:
      return lifecycle::Signal::kUsr2;
    case SIGWINCH:
      return lifecycle::Signal::kWinch;
    default:
      return std::nullopt;  // SIGCHLD only wakes us up
  }
}
}  // namespace

void tell_manager(const std::string& state) {
  if (auto told = notify_manager(state); !told.ok()) spdlog::warn("supervisor: {}", told.error().message);
}

Supervisor::Supervisor(SupervisorOptions options)
    : options_(std::move(options)),
      log_(options_.store),
      machine_(options_.timeouts, log_.last_id()),
      source_only_(options_.source_only) {
  const sigset_t set = supervised_signals();
  signal_fd_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (!options_.passed) return;
  SupervisorState& state = *options_.passed;
  listeners_ = state.listeners;
  worker_ = std::move(state.worker);
  lines_.worker = std::move(state.worker_words);
  source_only_ = state.source_only;
  look_for_worker_ = false;
  kept_ = true;
}

Supervisor::~Supervisor() {
  close(signal_fd_);
  close_all(listeners_);
}

void Supervisor::block_signals() {
  const sigset_t set = supervised_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

Result<void> Supervisor::open_socket() {
  if (options_.store.empty()) return {};
  if (options_.passed && options_.passed->socket_fd >= 0) {
    socket_ = SupervisorSocket::adopt(options_.store, options_.passed->socket_fd);
    return {};
  }
  ASSIGN_OR_RETURN(socket_, SupervisorSocket::open(options_.store));
  return {};
}

std::vector<Child*> Supervisor::children() const {
  std::vector<Child*> all;
  for (const auto* child : {&worker_, &next_, &old_})
    if (*child) all.push_back(child->get());
  return all;
}

lifecycle::ProcessState Supervisor::process_state() const {
  if (stopping_) return lifecycle::ProcessState::kDraining;
  if (machine_.busy()) return lifecycle::ProcessState::kRestarting;
  // In a crash loop a restart is the way out: another binary, another configuration.
  const bool serves = (worker_ && worker_->ready) || policy_.crash_loop();
  if (!serves) return lifecycle::ProcessState::kStarting;
  return source_only_ ? lifecycle::ProcessState::kSourceOnly : lifecycle::ProcessState::kServing;
}

void Supervisor::on_signal(int signal) {
  const auto known = known_signal(signal);
  if (!known) return;
  switch (lifecycle::decide(process_state(), *known)) {
    case lifecycle::SignalAction::kGracefulShutdown:
      stopping_ = true;
      std::fprintf(stderr, "initiating graceful shutdown of server\n");
      return machine_.stop(now());
    case lifecycle::SignalAction::kHardExit:
      for (const Child* child : children()) send_signal(*child, SIGKILL);
      return;
    case lifecycle::SignalAction::kRestart:
    case lifecycle::SignalAction::kRestartAgain:
      trigger({.by = "SIGUSR2", .binary = {}});
      return;
    case lifecycle::SignalAction::kReload:
      reload();
      return;
    case lifecycle::SignalAction::kEndSourceOnly:
      return end_source_only();
    case lifecycle::SignalAction::kFrontendExit:
      return leave_frontend();
    case lifecycle::SignalAction::kIgnore:
      return;
  }
}

/// The worker knows its roles; when it ends for it, that is a stop like any other that it was asked for by name.
void Supervisor::leave_frontend() {
  if (!worker_ || worker_->control_fd < 0) return;
  const ControlMessage leave{.kind = ControlMessage::Kind::kLeaveFrontend, .node = {}, .incarnation = {}, .text = {}};
  if (auto told = send_control(worker_->control_fd, leave); !told.ok())
    spdlog::error("supervisor: the frontend's exit: {}", told.error().message);
}

/// Every worker is told, each time: one that starts hears it when it comes to listen, one that is started from now on
/// never is source-only.
void Supervisor::end_source_only() {
  if (std::exchange(source_only_, false)) spdlog::info("supervisor: source-only ends");
  for (const Child* child : children())
    if (child->control_fd >= 0)
      (void)send_control(child->control_fd,
                         {.kind = ControlMessage::Kind::kEndSourceOnly, .node = {}, .incarnation = {}, .text = {}});
  if (!machine_.busy() && worker_ && worker_->ready) tell_manager("STATUS=serving");
}

std::optional<Instant> Supervisor::next_deadline() const {
  std::optional<Instant> next = machine_.deadline();
  const auto earlier = [&next](Instant at) { next = next ? std::min(*next, at) : at; };
  if (!worker_ && !stopping_ && by_policy()) earlier(start_at_);
  if (plan_) earlier(plan_->deadline);
  if (const auto probe = machine_.probe_at(); probe && probed_ != probe) earlier(*probe);
  return next;
}

void Supervisor::wait() {
  std::vector<pollfd> fds = {{signal_fd_, POLLIN, 0}};
  const auto add = [&fds](int fd) {
    if (fd >= 0) fds.push_back({fd, POLLIN, 0});
  };
  for (const Child* child : children()) {
    add(child->pid_fd);
    add(child->control_fd);
  }
  for (const Trial* trial : {trial_.get(), plan_ ? plan_->trial.get() : nullptr})
    if (trial != nullptr) std::ranges::for_each(trial->fds(), add);
  if (socket_) std::ranges::for_each(socket_->fds(), add);
  const std::optional<Instant> next = next_deadline();
  const auto left = next ? std::clamp<Duration>(*next - now(), 0s, 1h) : Duration(1h);
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
  poll(fds.data(), fds.size(), static_cast<int>(ms));
}

/// Everything that may have happened, what was said before who said it died.
void Supervisor::look() {
  signalfd_siginfo info{};
  while (read(signal_fd_, &info, sizeof info) == sizeof info) {
    on_signal(static_cast<int>(info.ssi_signo));
    run_actions();
  }
  for (Child* child : children()) read_control(*child);
  run_actions();
  look_at_ends();
  look_at_trial();
  look_at_plan();
  if (socket_)
    socket_->serve([this](std::uint64_t client, const ControlMessage& message) { on_client(client, message); });
  look_at_time();
  run_actions();
}

void Supervisor::look_at_time() {
  const std::optional<Instant> deadline = machine_.deadline(), probe = machine_.probe_at();
  if (probe && *probe <= now() && probed_ != probe) {
    probed_ = probe;
    tell_everybody(machine_.state());
  }
  if (deadline && *deadline <= now()) machine_.on_time(now(), worker_ && reads_control(*worker_));
}

/// After a restart, with nobody half-way anywhere: our own program follows.
void Supervisor::become_newer() {
  if (!upgrade_wanted_ || machine_.busy() || stopping_ || old_ || next_ || !worker_ || plan_) return;
  upgrade_wanted_ = false;
  if (options_.settle) options_.settle();
  spdlog::info("supervisor: becomes {}", present_);
  SupervisorState state{.lock_fd = options_.lock_fd,
                        .socket_fd = socket_ ? socket_->listening_fd() : -1,
                        .listeners = listeners_,
                        .worker = std::move(worker_),
                        .worker_words = lines_.present(),
                        .source_only = source_only_};
  const Error error = become(present_, options_.argv, state);
  worker_ = std::move(state.worker);
  spdlog::error("supervisor: {}; it stays the version that it was", error.message);
}

int Supervisor::run() {
  if (auto opened = open_socket(); !opened.ok()) {
    std::fprintf(stderr, "outlast: %s\n", opened.error().message.c_str());
    return 1;
  }
  if (worker_ && worker_->ready) on_serving(*worker_);
  while (exit_code_ < 0) {
    if (!worker_ && !stopping_ && by_policy() && start_at_ <= now()) start_or_adopt();
    if (exit_code_ >= 0) break;
    become_newer();
    wait();
    look();
  }
  for (auto* child : {&next_, &old_}) kill_child(*child);  // a stop in the middle of it all
  if (!options_.pid_file.empty() && served_) unlink(options_.pid_file.c_str());
  if (stopping_ && exit_code_ == 0) std::fprintf(stderr, "server drained and shutdown completed\n");
  return exit_code_;
}

}  // namespace outlast::handover
