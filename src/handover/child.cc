#include "handover/child.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>

namespace outlast::handover {
namespace {
constexpr int kFirstFd = 3;  // control, SQL, HTTP, the pair, inputs: handover/supervisor.h
constexpr int kKillWaitMs = 5000;
}  // namespace

Child::~Child() {
  for (const int fd : {pid_fd, control_fd})
    if (fd >= 0) close(fd);
}

std::string to_string(const ChildEnd& end) {
  if (!end.known) return "is gone";
  return (end.exited ? "exited with " : "was killed by signal ") + std::to_string(end.status);
}

int open_pid_fd(int pid) {
  return static_cast<int>(syscall(SYS_pidfd_open, pid, 0));  // close-on-exec by itself
}

Result<int> spawn(const std::string& program, const std::vector<std::string>& argv, int first_fd,
                  const std::vector<int>& passed) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  // The targets must not be overwritten before they are copied: everything is moved above them first.
  const int above = first_fd + static_cast<int>(passed.size());
  std::vector<int> sources;
  for (std::size_t i = 0; i < passed.size(); ++i) {
    sources.push_back(passed[i] < 0 ? -1 : fcntl(passed[i], F_DUPFD_CLOEXEC, above));
    if (sources[i] >= 0) posix_spawn_file_actions_adddup2(&actions, sources[i], first_fd + static_cast<int>(i));
  }
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  pid_t pid = 0;
  const int rc = posix_spawn(&pid, program.c_str(), &actions, &attributes, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  for (const int fd : sources)
    if (fd >= 0) close(fd);
  if (rc == 0) return static_cast<int>(pid);
  return Error(Errc::kUnavailable, "cannot start " + argv[0] + ": " + std::strerror(rc));
}

Result<std::unique_ptr<Child>> start_worker(const std::string& program, const std::vector<std::string>& argv,
                                            const Listeners& listeners, int pair) {
  int control[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, control) != 0)
    return Error(Errc::kUnavailable, std::string("cannot make a control channel: ") + std::strerror(errno));
  auto child = std::make_unique<Child>();
  child->control_fd = control[0];
  child->binary = program;
  std::vector<int> passed = {control[1], listeners.sql, listeners.http, pair};
  std::vector<std::string> words = argv;
  for (const auto& [name, fd] : listeners.inputs) {
    words.push_back("--input-socket=" + std::to_string(kFirstFd + static_cast<int>(passed.size())) + "=" + name);
    passed.push_back(fd);
  }
  auto pid = spawn(program, words, kFirstFd, passed);
  close(control[1]);
  if (!pid.ok()) return std::move(pid).error();
  child->pid = *pid;
  child->pid_fd = open_pid_fd(*pid);
  return child;
}

std::optional<ChildEnd> ended(const Child& child) {
  siginfo_t info{};
  if (waitid(P_PIDFD, static_cast<id_t>(child.pid_fd), &info, WEXITED | WNOHANG) == 0) {
    if (info.si_pid == 0) return std::nullopt;
    return ChildEnd{.known = true, .exited = info.si_code == CLD_EXITED, .status = info.si_status};
  }
  if (errno != ECHILD) return std::nullopt;
  pollfd gone{child.pid_fd, POLLIN, 0};  // not a child: only that it ended can be seen
  if (poll(&gone, 1, 0) <= 0) return std::nullopt;
  return ChildEnd{};
}

void send_signal(const Child& child, int signal) {
  syscall(SYS_pidfd_send_signal, child.pid_fd, signal, nullptr, 0);
}

void kill_and_wait(const Child& child) {
  send_signal(child, SIGKILL);
  pollfd gone{child.pid_fd, POLLIN, 0};
  while (poll(&gone, 1, kKillWaitMs) < 0 && errno == EINTR) {
  }
  (void)ended(child);
}

bool reads_control(const Child& child) {
  int unread = 0;
  return child.control_fd >= 0 && ioctl(child.control_fd, SIOCOUTQ, &unread) == 0 && unread == 0;
}

void reap_orphans(const std::vector<int>& ours) {
  for (;;) {
    siginfo_t info{};
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return;
    if (std::ranges::find(ours, info.si_pid) != ours.end()) return;  // its own turn comes first, then this again
    waitid(P_PID, static_cast<id_t>(info.si_pid), &info, WEXITED | WNOHANG);
  }
}

void raise_fd_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

Descriptors count_descriptors() {
  std::error_code unseen;
  const std::filesystem::directory_iterator all("/proc/self/fd", unseen);
  rlimit limit{};
  (void)getrlimit(RLIMIT_NOFILE, &limit);
  const auto open = unseen ? 0 : std::distance(begin(all), end(all));
  return {.open = static_cast<std::size_t>(open), .allowed = static_cast<std::size_t>(limit.rlim_cur)};
}

}  // namespace outlast::handover
