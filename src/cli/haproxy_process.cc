#include "cli/haproxy_process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <vector>

namespace outlast::cli {
namespace {

struct Listening {
  int fd{-1};
  std::string address;
  ~Listening() {
    if (fd >= 0) ::close(fd);
  }
};

Result<void> listen_anywhere(Listening& socket) {
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  socket.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  auto* address = reinterpret_cast<sockaddr*>(&at);
  if (socket.fd < 0 || ::bind(socket.fd, address, size) != 0 || ::listen(socket.fd, SOMAXCONN) != 0 ||
      ::getsockname(socket.fd, address, &size) != 0)
    return Error(Errc::kIo, "cannot listen on a loopback port: check the limits of this user");
  socket.address = "127.0.0.1:" + std::to_string(ntohs(at.sin_port));
  return {};
}

/// Only async-signal-safe calls: other threads may exist.
[[noreturn]] void become(char* const* argv, int log, int inherited, pid_t parent) {
  ::setpgid(0, 0);  // a Ctrl-C at the terminal reaches us only
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(125);
  for (const int signal : {SIGPIPE, SIGINT, SIGTERM, SIGHUP}) ::signal(signal, SIG_DFL);
  ::fcntl(inherited, F_SETFD, 0);
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  ::execv(argv[0], argv);
  ::_exit(126);
}

/// 0 when there is no other process to be had.
pid_t spawn(std::vector<std::string> words, const std::string& log, int inherited) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) become(argv.data(), out, inherited, parent);
  if (out >= 0) ::close(out);
  return std::max(pid, 0);
}

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

const Error kNoProcess(Errc::kOutOfMemory, "cannot start another process: check the limits of this user");

Result<void> check(const std::string& program, const std::string& config, const std::string& log, int inherited) {
  const pid_t pid = spawn({program, "-c", "-f", config}, log, inherited);
  int status = 0;
  if (pid == 0 || ::waitpid(pid, &status, 0) != pid) return kNoProcess;
  if (status == 0) return {};
  return Error(Errc::kInvalidState, "HAProxy does not take its configuration " + config + ":\n" + text_of(log));
}

}  // namespace

std::string find_haproxy() {
  const char* path = std::getenv("PATH");
  std::istringstream folders(std::string(path == nullptr ? "" : path) + ":/usr/sbin:/usr/local/sbin");
  for (std::string folder; std::getline(folders, folder, ':');)
    if (!folder.empty() && ::access((folder + "/haproxy").c_str(), X_OK) == 0) return folder + "/haproxy";
  return "";
}

Result<void> HaproxyProcess::start(const std::string& dir, const proto::NodeStatusReply& nodes,
                                   HaproxyOptions options) {
  const std::string program = find_haproxy(), config = dir + "/haproxy.cfg";
  log_ = dir + "/haproxy.log";
  if (program.empty())
    return Error(Errc::kNotFound,
                 "there is no haproxy in PATH or /usr/sbin: install it (Debian: apt-get install haproxy)");
  Listening socket;
  TRY(listen_anywhere(socket));
  options.bind = "fd@" + std::to_string(socket.fd);
  ASSIGN_OR_RETURN(const std::string text, haproxy_config(nodes, options));
  std::ofstream(config) << text;
  TRY(check(program, config, log_, socket.fd));
  pid_ = spawn({program, "-db", "-f", config}, log_, socket.fd);
  if (pid_ == 0) return kNoProcess;
  address_ = socket.address;
  return {};
}

std::string HaproxyProcess::log() const {
  return text_of(log_);
}

bool HaproxyProcess::running() {
  if (pid_ != 0 && ::waitpid(pid_, nullptr, WNOHANG) != 0) pid_ = 0;
  return pid_ != 0;
}

void HaproxyProcess::stop() {
  if (!running()) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = 0;
}

}  // namespace outlast::cli
