#include "handover/supervisor.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <spawn.h>
#include <spdlog/spdlog.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>

#include "handover/control.h"
#include "handover/notify.h"

namespace outlast::handover {
namespace {
/// While the worker says that it drains: until its next word, and some.
constexpr std::int64_t kExtendMicros = 30'000'000;

void tell_manager(const std::string& state) {
  if (auto told = notify_manager(state); !told.ok()) spdlog::warn("supervisor: {}", told.error().message);
}

sigset_t supervised_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int s : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH, SIGCHLD}) sigaddset(&set, s);
  return set;
}

void close_fd(int& fd) {
  if (fd >= 0) close(fd);
  fd = -1;
}

Error system_error(const std::string& what) {
  return {Errc::kUnavailable, what + ": " + std::strerror(errno)};
}
}  // namespace

Result<int> listen_on(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos)
    return Error(Errc::kInvalidArgument, "'" + address + "' is not host:port, as in 127.0.0.1:26257");
  addrinfo hints{}, *found = nullptr;
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  const std::string host = address.substr(0, colon);
  if (const int rc =
          getaddrinfo(host.empty() ? nullptr : host.c_str(), address.substr(colon + 1).c_str(), &hints, &found);
      rc != 0)
    return Error(Errc::kInvalidArgument, "cannot use the address " + address + ": " + gai_strerror(rc));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> list(found, freeaddrinfo);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      bind(fd, list->ai_addr, list->ai_addrlen) != 0 || listen(fd, 4096) != 0) {
    Error error = system_error("cannot listen on " + address);
    if (fd >= 0) close(fd);
    return error;
  }
  return fd;
}

std::string address_of(int fd) {
  sockaddr_in in{};
  socklen_t size = sizeof in;
  char host[INET_ADDRSTRLEN] = "";
  getsockname(fd, reinterpret_cast<sockaddr*>(&in), &size);
  inet_ntop(AF_INET, &in.sin_addr, host, sizeof host);
  return std::string(host) + ":" + std::to_string(ntohs(in.sin_port));
}

Supervisor::Supervisor(SupervisorOptions options) : options_(std::move(options)) {
  const sigset_t set = supervised_signals();
  signal_fd_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

Supervisor::~Supervisor() {
  for (int* fd : {&signal_fd_, &pid_fd_, &control_fd_}) close_fd(*fd);
}

void Supervisor::block_signals() {
  const sigset_t set = supervised_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

Result<void> Supervisor::start_worker() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
    return system_error("cannot make a control channel");
  // The targets must not be overwritten before they are copied: move everything above them first.
  int sources[3] = {pair[1], options_.sql_fd, options_.http_fd};
  for (int& fd : sources) fd = fcntl(fd, F_DUPFD_CLOEXEC, 16);
  close(pair[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  const int targets[3] = {kControlFd, kSqlFd, kHttpFd};
  for (int i = 0; i < 3; ++i) posix_spawn_file_actions_adddup2(&actions, sources[i], targets[i]);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::vector<char*> argv;
  for (std::string& word : options_.worker_command) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int rc = posix_spawn(&pid, argv[0], &actions, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  for (const int fd : sources) close(fd);
  if (rc != 0) {
    close(pair[0]);
    errno = rc;
    return system_error("cannot start the worker " + options_.worker_command[0]);
  }
  worker_pid_ = pid;
  control_fd_ = pair[0];
  pid_fd_ = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  started_ = options_.clock->now();
  node_ = {};
  incarnation_ = {};
  spdlog::info("supervisor: worker {} started", pid);
  return {};
}

void Supervisor::on_control() {
  for (;;) {
    auto message = receive_control(control_fd_);
    if (!message.ok()) return close_fd(control_fd_);
    if (!message->has_value()) return;
    const ControlMessage& m = **message;
    if (m.kind == ControlMessage::Kind::kIncarnation) {
      node_ = m.node;
      incarnation_ = m.incarnation;
    } else if (m.kind == ControlMessage::Kind::kFatal) {
      fatal_ = m.text;
    } else if (m.kind == ControlMessage::Kind::kReady) {
      tell_manager("READY=1\nSTATUS=serving");
    } else if (m.kind == ControlMessage::Kind::kStatus) {
      // Progress is what earns more time: a worker that hangs says nothing, and the manager's own limit holds.
      tell_manager("STATUS=" + m.text + (stopping_ ? "\nEXTEND_TIMEOUT_USEC=" + std::to_string(kExtendMicros) : ""));
    }
  }
}

void Supervisor::on_worker_exit() {
  if (control_fd_ >= 0) on_control();  // what it said before it died
  siginfo_t info{};
  if (waitid(P_PIDFD, static_cast<id_t>(pid_fd_), &info, WEXITED | WNOHANG) != 0 || info.si_pid == 0) return;
  close_fd(pid_fd_);
  close_fd(control_fd_);
  if (incarnation_) options_.fence(node_, incarnation_);
  const bool exited = info.si_code == CLD_EXITED;
  spdlog::info("supervisor: worker {} {} {}", info.si_pid, exited ? "exited with" : "was killed by signal",
               info.si_status);
  worker_pid_ = 0;
  if (stopping_ || (exited && info.si_status == kExitStopped)) tell_manager("STOPPING=1");
  if (stopping_) {
    exit_code_ = exited && info.si_status == kExitStopped ? 0 : 1;
  } else if (exited && info.si_status == kExitStopped) {
    exit_code_ = 0;  // stopped by an admin call
  } else if (exited && info.si_status == kExitFatal) {
    std::fprintf(stderr, "outlast: %s\n", fatal_.empty() ? "the worker cannot run; see the log" : fatal_.c_str());
    exit_code_ = kExitFatal;
  } else {
    const Instant now = options_.clock->now();
    start_at_ = now + policy_.on_exit(started_, now);
    if (policy_.crash_loop()) spdlog::error("supervisor: the worker ends again and again; see its log");
  }
}

void Supervisor::on_signal(int signal) {
  if (signal != SIGTERM && signal != SIGINT) return;
  if (stopping_) {
    if (signal == SIGINT && worker_pid_ != 0) kill(worker_pid_, SIGKILL);
    return;
  }
  stopping_ = true;
  std::fprintf(stderr, "initiating graceful shutdown of server\n");
  if (worker_pid_ == 0)
    exit_code_ = 0;
  else if (!send_control(control_fd_, {.kind = ControlMessage::Kind::kStop, .node = {}, .incarnation = {}, .text = {}})
                .ok())
    kill(worker_pid_, SIGTERM);
}

Duration Supervisor::wait_for() const {
  using namespace std::chrono_literals;
  if (worker_pid_ != 0) return 1h;
  return std::max<Duration>(0s, start_at_ - options_.clock->now());
}

int Supervisor::run() {
  while (exit_code_ < 0) {
    if (worker_pid_ == 0 && wait_for() <= Duration::zero()) {
      if (auto started = start_worker(); !started.ok()) {
        std::fprintf(stderr, "outlast: %s\n", started.error().message.c_str());
        return 1;
      }
    }
    pollfd fds[3] = {{signal_fd_, POLLIN, 0}, {pid_fd_, POLLIN, 0}, {control_fd_, POLLIN, 0}};
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(wait_for()).count();
    if (poll(fds, 3, static_cast<int>(ms)) < 0 && errno != EINTR) return 1;
    if ((fds[2].revents & (POLLIN | POLLHUP)) != 0) on_control();
    if ((fds[0].revents & POLLIN) != 0) {
      signalfd_siginfo info{};
      while (read(signal_fd_, &info, sizeof info) == sizeof info) on_signal(static_cast<int>(info.ssi_signo));
    }
    if ((fds[1].revents & POLLIN) != 0) on_worker_exit();
  }
  if (stopping_ && exit_code_ == 0) std::fprintf(stderr, "server drained and shutdown completed\n");
  return exit_code_;
}

}  // namespace outlast::handover
