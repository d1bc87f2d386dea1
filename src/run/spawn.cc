#include "run/spawn.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string_view>

namespace outlast::run {
namespace {
constexpr int kFirstPassed = 3;
constexpr std::string_view kListenPid = "LISTEN_PID=";

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> out;
  for (std::string& word : words) out.push_back(word.data());
  out.push_back(nullptr);
  return out;
}

void reset_signals() {
  for (int s = 1; s < NSIG; ++s) std::signal(s, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

/// In the child: puts the descriptors in their places. The sources move above all places first.
bool place(const SpawnRequest& request, int& report) {
  const int above = kFirstPassed + static_cast<int>(request.sockets.size()) + 1;
  std::vector<int> sources = request.sockets;
  for (int& fd : sources) fd = fcntl(fd, F_DUPFD_CLOEXEC, above);
  report = fcntl(report, F_DUPFD_CLOEXEC, above);
  if (request.stderr_fd >= 0 && dup2(request.stderr_fd, 2) < 0) return false;
  for (std::size_t i = 0; i < sources.size(); ++i)
    if (dup2(sources[i], kFirstPassed + static_cast<int>(i)) < 0) return false;
  close_range(static_cast<unsigned>(above - 1), ~0U, CLOSE_RANGE_CLOEXEC);
  return report >= 0;
}

[[noreturn]] void become(const SpawnRequest& request, int report, pid_t parent) {
  setpgid(0, 0);
  reset_signals();
  std::vector<std::string> environment = request.environment, command = request.command;
  if (!request.sockets.empty()) environment.push_back(std::string(kListenPid) + std::to_string(getpid()));
  if (request.death_signal != 0) prctl(PR_SET_PDEATHSIG, request.death_signal);
  if (getppid() == parent && place(request, report)) {
    const auto argv = pointers(command), envp = pointers(environment);
    execvpe(argv[0], argv.data(), envp.data());
  }
  const int why = errno;
  [[maybe_unused]] const auto n = write(report, &why, sizeof why);
  _exit(127);
}
}  // namespace

Result<pid_t> spawn(const SpawnRequest& request) {
  int report[2];
  const std::string what = "cannot start " + request.command[0];
  if (pipe2(report, O_CLOEXEC) != 0) return Error(Errc::kUnavailable, what + ": " + std::strerror(errno));
  const pid_t parent = getpid(), pid = fork();
  if (pid == 0) become(request, report[1], parent);
  int why = pid < 0 ? errno : 0;
  close(report[1]);
  if (pid > 0) {
    setpgid(pid, pid);
    if (read(report[0], &why, sizeof why) != sizeof why) why = 0;
  }
  close(report[0]);
  if (why == 0) return pid;
  if (pid > 0) waitpid(pid, nullptr, 0);
  return Error(why == ENOENT ? Errc::kNotFound : Errc::kUnavailable, what + ": " + std::strerror(why));
}

std::vector<std::string> environment_for_children() {
  std::vector<std::string> out;
  for (char** at = environ; *at != nullptr; ++at) {
    const std::string_view one = *at;
    bool ours = false;
    for (const std::string_view name :
         {"LISTEN_PID=", "LISTEN_FDS=", "LISTEN_FDNAMES=", "NOTIFY_SOCKET=", "WATCHDOG_PID=", "WATCHDOG_USEC="})
      ours = ours || one.starts_with(name);
    if (!ours) out.emplace_back(one);
  }
  return out;
}

bool group_exists(pid_t group) {
  return kill(-group, 0) == 0 || errno == EPERM;
}

void kill_descendants() {
  // Children of a killed child become ours: each round finds those of the round before.
  for (;;) {
    std::ifstream children("/proc/thread-self/children");
    bool any = false;
    for (pid_t pid = 0; children >> pid; any = true) kill(pid, SIGKILL);
    if (!any) return;
    waitpid(-1, nullptr, 0);
  }
}

}  // namespace outlast::run
