#include "support/sending_program.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <stdexcept>

#include "run/spawn.h"

namespace outlast::testing_support {
namespace {
using namespace std::chrono_literals;
namespace fs = std::filesystem;
constexpr auto kPause = 4ms;
}  // namespace

/// What is spawned has its sockets from descriptor 3 on: a pipe that the shell makes its standard input.
SendingProgram::SendingProgram(std::vector<std::string> command, const std::vector<std::string>& environment) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  in_ = ends[1];
  run::SpawnRequest request;
  request.command = {"sh", "-c", "unset LISTEN_PID LISTEN_FDS; exec \"$@\" 0<&3 3<&-", "sh"};
  request.command.insert(request.command.end(), command.begin(), command.end());
  request.environment = run::environment_for_children();
  request.environment.insert(request.environment.end(), environment.begin(), environment.end());
  request.sockets = {ends[0]};
  request.death_signal = SIGKILL;
  const auto spawned = run::spawn(request);
  close(ends[0]);
  if (!spawned.ok()) throw std::runtime_error(spawned.error().message);
  pid_ = *spawned;
}

SendingProgram::~SendingProgram() {
  close(in_);
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

bool SendingProgram::running() const {
  siginfo_t ended{};
  return waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid == 0;
}

void SendingProgram::write(const std::string& line) const {
  const std::string text = line + "\n";
  if (::write(in_, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    throw std::runtime_error("a sending program does not read");
}

std::set<std::string> SendingProgram::sockets() const {
  std::set<std::string> found;
  std::error_code ignored;
  for (const auto& fd : fs::directory_iterator("/proc/" + std::to_string(pid_) + "/fd", ignored)) {
    const std::string what = fs::read_symlink(fd.path(), ignored).string();
    if (what.starts_with("socket:")) found.insert(what);
  }
  return found;
}

std::string unpacked(const std::string& package, const std::string& path) {
  return std::string(OUTLAST_UNPACKED_DIR) + "/" + package + path;
}

NumberFeed::NumberFeed(std::vector<To> to) : to_(std::move(to)), thread_([this] { work(); }) {}

long NumberFeed::stop() {
  over_ = true;
  if (thread_.joinable()) thread_.join();
  return said_;
}

void NumberFeed::work() {
  while (!over_) {
    for (const To& one : to_) one.say(one.word + "=" + std::to_string(said_));
    ++said_;
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace outlast::testing_support
