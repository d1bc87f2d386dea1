#include "run/testing/running_program.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

namespace outlast::run::testing {
namespace {
constexpr int kPatienceMillis = 20'000;

std::string name_of(const boost::json::object& event) {
  return boost::json::value_to<std::string>(event.at("event"));
}

[[noreturn]] void become(const RunningProgram::How& how, int out) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  dup2(out, STDOUT_FILENO);
  // Silences the server and closes what the test has open.
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (std::getenv("OUTLAST_TEST_LOG") == nullptr) dup2(null, STDERR_FILENO);
  if (how.socket >= 0) {
    dup2(how.socket, 3);
    setenv("LISTEN_FDS", "1", 1);
    setenv("LISTEN_PID", std::to_string(getpid()).c_str(), 1);
  }
  closefrom(how.socket >= 0 ? 4 : 3);
  for (const auto& [name, value] : how.environment) setenv(name.c_str(), value.c_str(), 1);
  std::_Exit(run(how.options));
}

/// Its only child has pid 1 in a new PID namespace; this process ends with it.
[[noreturn]] void become_pid_1(const RunningProgram::How& how, int out) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (unshare(CLONE_NEWPID) != 0) std::_Exit(1);
  const pid_t init = fork();
  if (init == 0) become(how, out);
  static pid_t target;
  target = init;
  for (const int s : {SIGTERM, SIGUSR2}) std::signal(s, [](int signal) { kill(target, signal); });
  int status = 0;
  while (waitpid(init, &status, 0) != init) {
  }
  std::_Exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}
}  // namespace

RunningProgram::RunningProgram(How how) {
  how.options.format = "json";
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return;
  pid_ = fork();
  if (pid_ == 0) how.as_pid_1 ? become_pid_1(how, ends[1]) : become(how, ends[1]);
  close(ends[1]);
  out_ = ends[0];
}

RunningProgram::~RunningProgram() {
  if (pid_ != 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  close(out_);
}

void RunningProgram::signal(int signal) const {
  if (pid_ != 0) kill(pid_, signal);
}

bool RunningProgram::read_event() {
  std::size_t end = 0;
  while ((end = buffer_.find('\n')) == std::string::npos) {
    pollfd p{out_, POLLIN, 0};
    char text[4096];
    if (poll(&p, 1, kPatienceMillis) != 1) return false;
    const ssize_t n = read(out_, text, sizeof text);
    if (n <= 0) return false;
    buffer_.append(text, static_cast<std::size_t>(n));
  }
  boost::system::error_code error;
  const auto value = boost::json::parse(buffer_.substr(0, end), error);
  buffer_.erase(0, end + 1);
  if (!error && value.is_object()) events_.push_back(value.as_object());
  return true;
}

boost::json::object RunningProgram::next(const std::string& event) {
  for (std::size_t seen = events_.size(); read_event(); seen = events_.size())
    if (events_.size() > seen && name_of(events_.back()) == event) return events_.back();
  return {};
}

boost::json::object RunningProgram::reload() {
  signal(SIGUSR2);
  return next("reload");
}

int RunningProgram::ready_port() {
  const auto listening = next("listening");
  if (next("ready").empty()) return 0;
  const std::string url = listening.at("detail").as_string().c_str();
  return std::atoi(url.substr(url.rfind(':') + 1).c_str());
}

int RunningProgram::wait() {
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  pollfd p{fd, POLLIN, 0};
  const bool ended = poll(&p, 1, kPatienceMillis) == 1;
  close(fd);
  if (!ended) return -1;
  int status = 0;
  waitpid(std::exchange(pid_, 0), &status, 0);
  while (read_event()) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::size_t RunningProgram::count(const std::string& event) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(events_, [&](const boost::json::object& one) { return name_of(one) == event; }));
}

int open_descriptors(pid_t pid) {
  const std::filesystem::directory_iterator all("/proc/" + std::to_string(pid) + "/fd");
  return static_cast<int>(std::distance(begin(all), end(all)));
}

bool settles_at(pid_t pid, int descriptors) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMillis);
  while (open_descriptors(pid) != descriptors) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

std::vector<pid_t> children_of(pid_t pid) {
  const std::string of = std::to_string(pid);
  std::ifstream in("/proc/" + of + "/task/" + of + "/children");
  std::vector<pid_t> out;
  for (pid_t child = 0; in >> child;) out.push_back(child);
  return out;
}

}  // namespace outlast::run::testing
