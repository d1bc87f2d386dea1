#include "cli/local_cluster.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

#include "cli/http_get.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
namespace fs = std::filesystem;
using Steady = std::chrono::steady_clock;
constexpr auto kPollEvery = 20ms;  ///< Between looks at another process's progress; every wait has a deadline.

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

int exit_code(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/// Only async-signal-safe calls: other threads may exist.
[[noreturn]] void become(char* const* argv, int log, pid_t parent) {
  ::setpgid(0, 0);  // a Ctrl-C at the terminal reaches us only; we end the nodes in order
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(125);
  for (const int signal : {SIGPIPE, SIGINT, SIGTERM, SIGHUP}) ::signal(signal, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  ::execv(argv[0], argv);
  ::_exit(126);
}

}  // namespace

LocalCluster::LocalCluster(LocalClusterOptions options) : options_(std::move(options)) {
  if (options_.binary.empty()) options_.binary = fs::read_symlink("/proc/self/exe").string();
  // A worker whose supervisor was killed becomes our child, so that it can be waited for.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
}

LocalCluster::~LocalCluster() {
  kill_all();
}

std::string LocalCluster::store(int node) const {
  return options_.dir + "/node" + std::to_string(node + 1);
}
std::string LocalCluster::meta() const {
  return options_.meta.empty() ? "embedded:" + options_.dir + "/meta" : options_.meta;
}
std::string LocalCluster::log(int node) const {
  return store(node) + ".log";
}

LocalCluster::Node& LocalCluster::at(int node) {
  const auto index = static_cast<std::size_t>(node);
  if (nodes_.size() <= index) nodes_.resize(index + 1);
  return nodes_[index];
}

pid_t LocalCluster::spawn(const std::vector<std::string>& args, const std::string& log) {
  std::vector<char*> argv{options_.binary.data()};
  for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  const int fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) become(argv.data(), fd, parent);
  if (fd >= 0) ::close(fd);
  return pid;
}

Result<void> LocalCluster::start(int node) {
  Node& n = at(node);
  if (running(node)) return Error(Errc::kInvalidState, "node " + std::to_string(node + 1) + " runs already");
  const auto or_any = [](const std::string& address) { return address.empty() ? "127.0.0.1:0" : address; };
  std::vector<std::string> args{"start", "--store=" + store(node), "--http-addr=" + or_any(n.last_facts.http_addr)};
  if (options_.collectors)
    args.emplace_back("--roles=none");
  else
    args.insert(args.end(), {"--meta=" + meta(), "--listen-addr=" + or_any(n.last_facts.listen_addr),
                             "--sql-addr=" + or_any(n.last_facts.sql_addr)});
  args.insert(args.end(), options_.start_args.begin(), options_.start_args.end());
  if (options_.node_args) std::ranges::copy(options_.node_args(node), std::back_inserter(args));
  std::error_code ignored;
  fs::remove(store(node) + "/NODE.json", ignored);  // the last process's; a new one is written when it serves
  return spawn_into(n, args, log(node));
}

Result<void> LocalCluster::spawn_into(Node& node, const std::vector<std::string>& args, const std::string& log) {
  node.pid = std::max(spawn(args, log), 0);
  if (node.pid > 0) return {};
  return Error(Errc::kOutOfMemory, "cannot start another process: check the limits of this user");
}

Result<void> LocalCluster::init() {
  const std::string log = options_.dir + "/init.log";
  Error failed;
  const auto try_once = [&] {
    const pid_t pid = spawn({"init", "--meta=" + meta()}, log);
    int status = 0;
    return pid > 0 && ::waitpid(pid, &status, 0) == pid && exit_code(status) == 0;
  };
  if (wait_until("init", 10s, try_once).ok()) return {};
  return Error(Errc::kNotInitialised, "`outlast init` fails: " + read_file(log));
}

Result<void> LocalCluster::wait_until(const std::string& what, Duration timeout,
                                      const std::function<bool()>& reached) const {
  for (const auto deadline = Steady::now() + timeout; !reached(); std::this_thread::sleep_for(kPollEvery)) {
    if (options_.give_up()) return Error(Errc::kCancelled, "interrupted");
    if (Steady::now() >= deadline)
      return Error(Errc::kDeadline, what + " took longer than " + std::to_string(timeout / 1s) + " s");
  }
  return {};
}

Result<NodeFacts> LocalCluster::facts(int node) const {
  const std::string path = store(node) + "/NODE.json";
  const std::string text = read_file(path);
  if (text.empty()) return Error(Errc::kNotReady, path + " is not there");
  return parse_node_facts(text);
}

Result<NodeFacts> LocalCluster::ready(int node, pid_t not_worker) const {
  ASSIGN_OR_RETURN(NodeFacts now, facts(node));
  if (now.worker_pid == not_worker) return Error(Errc::kNotReady, "the old worker's NODE.json is still there");
  ASSIGN_OR_RETURN(const HttpAnswer answer, http_get(now.http_addr, "/health?ready=1", 1s));
  if (answer.status != 200) return Error(Errc::kNotReady, answer.body);
  return now;
}

Result<NodeFacts> LocalCluster::wait_ready(int node, Duration timeout, pid_t not_worker) {
  Result<NodeFacts> last = Error(Errc::kNotReady, "");
  const auto reached = [&] {
    last = ready(node, not_worker);
    return last.ok() || !running(node);
  };
  auto waited = wait_until("node " + std::to_string(node + 1), timeout, reached);
  if (last.ok()) {
    at(node).last_facts = *last;
    return last;
  }
  const std::string why = waited.ok() ? "its process ended with code " + std::to_string(exit_code(at(node).status))
                                      : waited.error().message + " (" + last.error().message + ")";
  return Error(waited.ok() ? Errc::kUnavailable : waited.error().code,
               "node " + std::to_string(node + 1) + " is not ready: " + why + "\n" + log_tail(node));
}

bool LocalCluster::reap(Node& node) {
  if (node.pid == 0) return true;
  if (::waitpid(node.pid, &node.status, WNOHANG) == 0) return false;
  node.pid = 0;
  return true;
}

bool LocalCluster::running(int node) {
  return !reap(at(node));
}

Result<int> LocalCluster::wait_exit(int node, Duration timeout) {
  TRY(wait_until("the end of node " + std::to_string(node + 1), timeout, [&] { return !running(node); }));
  return exit_code(at(node).status);
}

void LocalCluster::ask_to_stop(int node) {
  if (running(node)) ::kill(at(node).pid, SIGTERM);
}

Result<int> LocalCluster::terminate(int node, Duration timeout) {
  ask_to_stop(node);
  return wait_exit(node, timeout);
}

Result<pid_t> LocalCluster::kill_worker(int node) {
  ASSIGN_OR_RETURN(const NodeFacts now, facts(node));
  if (now.worker_pid <= 0 || ::kill(now.worker_pid, SIGKILL) != 0)
    return Error(Errc::kUnavailable, "node " + std::to_string(node + 1) + " has no worker to kill");
  return now.worker_pid;
}

namespace {
/// True while a process of this program still has our folder on its command line (zombies have none).
std::vector<pid_t> processes_with(const std::string& binary, const std::string& dir) {
  std::vector<pid_t> found;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator("/proc", ec)) {
    const std::string name = entry.path().filename().string();
    pid_t pid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ec != std::errc{} || pid == ::getpid()) continue;
    const std::string exe = fs::read_symlink(entry.path() / "exe", ec).string();
    if (exe == binary && read_file(entry.path() / "cmdline").find(dir) != std::string::npos) found.push_back(pid);
  }
  return found;
}
}  // namespace

void LocalCluster::kill_node(int node) {
  Node& n = at(node);
  if (running(node)) {
    ::kill(n.pid, SIGKILL);  // first, or it would start another worker
    ::waitpid(n.pid, &n.status, 0);
    n.pid = 0;
  }
  // "--store=.../node1" must not match "/node10": an argument ends with a zero byte.
  const auto left = [&] { return processes_with(options_.binary, store(node) + '\0'); };
  std::vector<pid_t> killed;
  (void)wait_until("the end of a killed worker", 10s, [&] {
    const auto now = left();
    for (const pid_t pid : now) ::kill(pid, SIGKILL);
    killed.insert(killed.end(), now.begin(), now.end());
    return now.empty();
  });
  for (const pid_t pid : killed) ::waitpid(pid, nullptr, WNOHANG);  // orphans became our children
}

Result<void> LocalCluster::start_command(const std::vector<std::string>& args, const std::string& log) {
  if (!reap(command_)) return Error(Errc::kInvalidState, "the last command still runs");
  return spawn_into(command_, args, log);
}

std::optional<int> LocalCluster::command_exit() {
  if (!reap(command_)) return std::nullopt;
  return exit_code(command_.status);
}

void LocalCluster::kill_strays() const {
  for (const pid_t pid : processes_with(options_.binary, options_.dir)) ::kill(pid, SIGKILL);
}

void LocalCluster::kill_all() {
  if (!reap(command_)) {
    ::kill(command_.pid, SIGKILL);
    ::waitpid(command_.pid, &command_.status, 0);
    command_.pid = 0;
  }
  for (Node& n : nodes_)
    if (!reap(n)) ::kill(n.pid, SIGKILL);
  for (Node& n : nodes_)
    if (n.pid != 0) {
      ::waitpid(n.pid, &n.status, 0);
      n.pid = 0;
    }
  for (const auto deadline = Steady::now() + 10s;
       !processes_with(options_.binary, options_.dir).empty() && Steady::now() < deadline;
       std::this_thread::sleep_for(kPollEvery))
    kill_strays();
}

Result<std::vector<RangeFacts>> LocalCluster::ranges(int node, Duration timeout) const {
  ASSIGN_OR_RETURN(const NodeFacts now, facts(node));
  ASSIGN_OR_RETURN(const HttpAnswer answer, http_get(now.http_addr, "/api/ranges", timeout));
  if (answer.status != 200) return Error(Errc::kUnavailable, "/api/ranges: " + answer.body);
  return parse_ranges(answer.body);
}

Result<ReplicaDigest> LocalCluster::digest(int node, RangeId range) const {
  ASSIGN_OR_RETURN(const NodeFacts now, facts(node));
  ASSIGN_OR_RETURN(const HttpAnswer answer,
                   http_get(now.http_addr, "/api/ranges/" + range.to_string() + "/digest", 30s));
  if (answer.status != 200) return Error(Errc::kUnavailable, "digest: " + answer.body);
  return parse_digest(answer.body);
}

std::string LocalCluster::sql_url(int node, const std::string& database) const {
  const auto index = static_cast<std::size_t>(node);
  if (index >= nodes_.size() || nodes_[index].last_facts.sql_addr.empty()) return "";
  return "postgresql://root@" + nodes_[index].last_facts.sql_addr + "/" + database + "?sslmode=disable";
}

std::string LocalCluster::log_tail(int node, std::size_t bytes_max) const {
  const std::string text = read_file(log(node));
  return text.substr(text.size() - std::min(text.size(), bytes_max));
}

}  // namespace outlast::cli
