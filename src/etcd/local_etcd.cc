#include "etcd/local_etcd.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <grpcpp/create_channel.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

#include "etcd/member.h"

extern char** environ;

namespace outlast::etcd {
namespace {
using namespace std::chrono_literals;
constexpr int kStartAttempts = 5;  ///< A port that was free may be taken before etcd binds it.
constexpr auto kPollEvery = 50ms;

/// A port that nobody uses now. The socket goes on holding it until the caller closes it.
Result<int> hold_free_port(std::vector<int>& held) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (fd < 0 || ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return Error(Errc::kUnavailable, "there is no free port on 127.0.0.1");
  held.push_back(fd);
  return ntohs(address.sin_port);
}

/// Only async-signal-safe calls: other threads may exist.
[[noreturn]] void become(char* const* argv, char* const* environment, int log, pid_t parent) {
  ::setpgid(0, 0);  // a Ctrl-C at the terminal reaches us only; we end etcd after its clients
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(125);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  ::execve(argv[0], argv, environment);
  ::_exit(126);
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> out;
  for (std::string& word : words) out.push_back(word.data());
  out.push_back(nullptr);
  return out;
}

/// etcd takes ETCD_* for options and refuses to start when one contradicts its command line.
std::vector<std::string> environment_without_etcd() {
  std::vector<std::string> out;
  for (char** one = environ; *one != nullptr; ++one)
    if (const std::string_view text(*one); !text.starts_with("ETCD_") || text.starts_with("ETCD_UNSUPPORTED_ARCH"))
      out.emplace_back(text);
  return out;
}

pid_t spawn(std::vector<std::string> args, const std::string& log) {
  std::vector<std::string> environment = environment_without_etcd();
  const std::vector<char*> argv = pointers(args), envp = pointers(environment);
  const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const pid_t parent = ::getpid(), pid = ::fork();
  if (pid == 0) become(argv.data(), envp.data(), fd, parent);
  if (fd >= 0) ::close(fd);
  return pid;
}

}  // namespace

LocalEtcd::~LocalEtcd() {
  kill_all();
}

Result<std::string> LocalEtcd::find_program() {
  const char* path = std::getenv("PATH");
  std::istringstream folders(std::string(path == nullptr ? "" : path) + ":/usr/bin:/usr/local/bin");
  for (std::string folder; std::getline(folders, folder, ':');)
    if (const std::string program = folder + "/etcd"; !folder.empty() && ::access(program.c_str(), X_OK) == 0)
      return program;
  return Error(Errc::kNotFound, "there is no etcd on this machine: apt-get install etcd-server");
}

Result<void> LocalEtcd::start(Duration timeout) {
  Result<void> last;
  for (int attempt = 0; attempt < kStartAttempts; ++attempt) {
    TRY(choose_ports());
    for (int i = 0; i < size(); ++i) TRY(restart(i));
    last = wait_serving(timeout);
    if (last.ok() || last.error().code != Errc::kUnavailable) return last;
    kill_all();
  }
  return last;
}

Result<void> LocalEtcd::choose_ports() {
  processes_.assign(static_cast<std::size_t>(size()), {});
  std::vector<int> held;  // all at once, so that they differ
  Result<void> result;
  for (Process& process : processes_) {
    const auto client = hold_free_port(held), peer = hold_free_port(held);
    if (!client.ok() || !peer.ok()) {
      result = client.ok() ? peer.error() : client.error();
      break;
    }
    process.client_port = *client;
    process.peer_port = *peer;
  }
  for (const int fd : held) ::close(fd);
  for (int i = 0; i < size(); ++i) {
    std::error_code ignored;
    std::filesystem::remove_all(options_.dir + "/etcd" + std::to_string(i + 1), ignored);
    std::filesystem::remove(log(i), ignored);
  }
  return result;
}

std::vector<std::string> LocalEtcd::arguments(int member) const {
  const auto name = [](int i) { return "etcd" + std::to_string(i + 1); };
  const auto peer_url = [this](int i) {
    return "http://127.0.0.1:" + std::to_string(processes_[static_cast<std::size_t>(i)].peer_port);
  };
  std::string all;
  for (int i = 0; i < size(); ++i) all += (i == 0 ? "" : ",") + name(i) + "=" + peer_url(i);
  const std::string client_url = (options_.cert_file.empty() ? "http://" : "https://") + endpoint(member);
  std::vector<std::string> args{"--name=" + name(member),
                                "--data-dir=" + options_.dir + "/" + name(member),
                                "--listen-client-urls=" + client_url,
                                "--advertise-client-urls=" + client_url,
                                "--listen-peer-urls=" + peer_url(member),
                                "--initial-advertise-peer-urls=" + peer_url(member),
                                "--initial-cluster=" + all,
                                "--initial-cluster-state=new",
                                "--logger=zap",
                                "--log-level=warn",
                                "--log-outputs=stderr"};
  if (!options_.cert_file.empty()) {
    args.push_back("--cert-file=" + options_.cert_file);
    args.push_back("--key-file=" + options_.key_file);
    if (options_.clients_need_certificates) {
      args.push_back("--client-cert-auth");
      args.push_back("--trusted-ca-file=" + options_.ca_file);
    }
  }
  args.insert(args.end(), options_.args.begin(), options_.args.end());
  return args;
}

Result<void> LocalEtcd::restart(int member) {
  ASSIGN_OR_RETURN(const std::string program, find_program());
  Process& process = processes_[static_cast<std::size_t>(member)];
  std::vector<std::string> args = arguments(member);
  args.insert(args.begin(), program);
  process.pid = spawn(std::move(args), log(member));
  if (process.pid > 0) return {};
  process.pid = 0;
  return Error(Errc::kOutOfMemory, "cannot start another process: check the limits of this user");
}

/// A member serves when it knows a leader; its own answer tells its id, too.
Result<void> LocalEtcd::wait_serving(Duration timeout) {
  Options client;
  client.ca_file = options_.ca_file;
  if (options_.clients_need_certificates) client.cert_file = options_.cert_file, client.key_file = options_.key_file;
  ASSIGN_OR_RETURN(const Secrets secrets, read_secrets(client));
  for (const Time end = now() + timeout;; std::this_thread::sleep_for(kPollEvery)) {
    int serving = 0;
    for (int i = 0; i < size(); ++i) {
      if (has_ended(i)) return Error(Errc::kUnavailable, "etcd ended while starting: " + log_tail(i));
      Process& process = processes_[static_cast<std::size_t>(i)];
      const auto stub = pb::Maintenance::NewStub(grpc::CreateChannel(endpoint(i), make_credentials(secrets)));
      grpc::ClientContext context;
      prepare(context, "");
      context.set_deadline(std::chrono::system_clock::now() + 1s);
      pb::StatusResponse status;
      if (!stub->Status(&context, pb::StatusRequest(), &status).ok() || status.leader() == 0) continue;
      process.id = status.header().member_id();
      ++serving;
    }
    if (serving == size()) return {};
    if (options_.give_up()) return Error(Errc::kCancelled, "interrupted");
    if (now() >= end) return Error(Errc::kDeadline, "etcd does not serve in time; the end of its log: " + log_tail(0));
  }
}

int LocalEtcd::leader() const {
  for (int i = 0; i < size(); ++i) {
    if (processes_[static_cast<std::size_t>(i)].pid == 0) continue;
    const auto stub = pb::Maintenance::NewStub(grpc::CreateChannel(endpoint(i), grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + 1s);
    pb::StatusResponse status;
    if (!stub->Status(&context, pb::StatusRequest(), &status).ok()) continue;
    for (int j = 0; j < size(); ++j)
      if (processes_[static_cast<std::size_t>(j)].id == status.leader()) return j;
  }
  return -1;
}

bool LocalEtcd::has_ended(int member) {
  Process& process = processes_[static_cast<std::size_t>(member)];
  if (process.pid == 0) return true;
  if (::waitpid(process.pid, nullptr, WNOHANG) == 0) return false;
  process.pid = 0;
  return true;
}

void LocalEtcd::kill(int member) {
  Process& process = processes_[static_cast<std::size_t>(member)];
  if (process.pid == 0) return;
  ::kill(process.pid, SIGKILL);
  ::waitpid(process.pid, nullptr, 0);
  process.pid = 0;
}

void LocalEtcd::kill_all() {
  for (std::size_t i = 0; i < processes_.size(); ++i) kill(static_cast<int>(i));
}

void LocalEtcd::freeze(int member) {
  const pid_t pid = processes_[static_cast<std::size_t>(member)].pid;
  if (pid != 0) ::kill(pid, SIGSTOP);
}

void LocalEtcd::thaw(int member) {
  const pid_t pid = processes_[static_cast<std::size_t>(member)].pid;
  if (pid != 0) ::kill(pid, SIGCONT);
}

std::string LocalEtcd::endpoint(int member) const {
  return "127.0.0.1:" + std::to_string(processes_[static_cast<std::size_t>(member)].client_port);
}

std::string LocalEtcd::endpoints() const {
  std::string all;
  for (int i = 0; i < size(); ++i) all += (i == 0 ? "" : ",") + endpoint(i);
  return all;
}

std::string LocalEtcd::log(int member) const {
  return options_.dir + "/etcd" + std::to_string(member + 1) + ".log";
}

std::string LocalEtcd::log_tail(int member, std::size_t bytes_max) const {
  std::ifstream file(log(member), std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return text.substr(text.size() - std::min(text.size(), bytes_max));
}

}  // namespace outlast::etcd
