#include "support/restarts.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "cli/restart_source.h"

namespace outlast::testing_support {
namespace {
using namespace std::chrono_literals;
namespace fs = std::filesystem;
namespace json = boost::json;
using handover::HandoverState;
constexpr auto kPatience = 60s;
constexpr int kNobodyYet = -1, kReleased = -2;  // instead of a descriptor

std::vector<std::string> command_line(const fs::path& process) {
  std::ifstream in(process / "cmdline");
  std::vector<std::string> words;
  for (std::string word; std::getline(in, word, '\0');) words.push_back(word);
  return words;
}

bool has(const std::vector<std::string>& words, const std::string& word) {
  return std::ranges::find(words, word) != words.end();
}

/// Inode of the socket at the other end of a loopback connection; 0: it is closed.
unsigned long inode_of_peer(int fd) {
  sockaddr_in here{}, there{};
  socklen_t size = sizeof here;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&here), &size) != 0) return 0;
  size = sizeof there;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&there), &size) != 0) return 0;
  char wanted[64];
  std::snprintf(wanted, sizeof wanted, "%08X:%04X %08X:%04X", there.sin_addr.s_addr, ntohs(there.sin_port),
                here.sin_addr.s_addr, ntohs(here.sin_port));
  std::ifstream in("/proc/net/tcp");
  for (std::string line; std::getline(in, line);) {
    if (line.find(wanted) == std::string::npos) continue;
    std::istringstream fields(line);
    std::string field;
    for (int i = 0; i < 10; ++i) fields >> field;
    return std::strtoul(field.c_str(), nullptr, 10);
  }
  return 0;
}
}  // namespace

std::string_view to_string(Role role) {
  switch (role) {
    case Role::kOld:
      return "old";
    case Role::kNew:
      return "new";
    case Role::kSupervisor:
      return "supervisor";
  }
  return "";
}

StoreProcesses processes_of(const std::string& store) {
  StoreProcesses found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
    const std::string name = entry.path().filename().string();
    pid_t pid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ec != std::errc{}) continue;
    const auto words = command_line(entry.path());
    if (!has(words, "--store=" + store)) continue;
    if (has(words, "--check"))
      found.trials.push_back(pid);
    else if (has(words, "worker"))
      found.workers.push_back(pid);
    else if (has(words, "start"))
      found.supervisors.push_back(pid);
  }
  return found;
}

Hold::Hold(std::string path) : path_(std::move(path)) {
  mkfifo(path_.c_str(), 0600);
}
Hold::~Hold() {
  release();
}
bool Hold::reached() {
  if (fd_ >= 0) return true;
  fd_ = open(path_.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd_ >= 0) unlink(path_.c_str());
  return fd_ >= 0;
}
/// Another FIFO may have the name of one that was reached.
void Hold::release() {
  if (fd_ >= 0) close(fd_);
  if (fd_ == kNobodyYet) unlink(path_.c_str());
  fd_ = kReleased;
}

Writer::Writer(std::string url, long first_id)
    : url_(std::move(url)), first_id_(first_id), thread_([this] { work(); }) {}

void Writer::stop() {
  over_ = true;
  if (thread_.joinable()) thread_.join();
}

void Writer::work() {
  std::unique_ptr<cli::PgConnection> connection;
  for (long id = first_id_; !over_; ++id) {
    if (!connection) {
      auto made = cli::PgConnection::connect(url_, "defaultdb", 10s);
      if (!made.ok()) continue;
      connection = std::make_unique<cli::PgConnection>(*std::move(made));
    }
    if (connection->run("INSERT INTO t VALUES (" + std::to_string(id) + ")", kPatience).ok) {
      acknowledged_.insert(id);
    } else {
      ++failures_;
      connection.reset();
    }
  }
}

RestartsTest::RestartsTest() {
  std::string holds;
  for (const Role role : kAllRoles)
    for (const HandoverState state : handover::kAllHandoverStates)
      holds += std::string(to_string(role)) + ":" + std::string(handover::to_string(state)) + ":" + dir() + "/hold-" +
               std::string(to_string(role)) + "-" + std::string(handover::to_string(state)) + ",";
  environment("OUTLAST_HANDOVER_HOLD", holds);
}

RestartsTest::~RestartsTest() {
  for (const std::string& name : variables_) unsetenv(name.c_str());
  // Supervisors first; those of another program are unknown to the cluster.
  for (int i = 0; i < cluster().size(); ++i) {
    const StoreProcesses all = processes_of(cluster().store(i));
    for (const auto* some : {&all.supervisors, &all.trials, &all.workers})
      for (const pid_t pid : *some) ::kill(pid, SIGKILL);
  }
}

void RestartsTest::environment(const std::string& name, const std::string& value) {
  variables_.push_back(name);
  setenv(name.c_str(), value.c_str(), 1);
}

void RestartsTest::start_one() {
  ASSERT_NO_FATAL_FAILURE(start_nodes(1));
  auto client = connect(0);
  must(client, "CREATE TABLE t (id bigint)");
}

std::unique_ptr<Hold> RestartsTest::hold(std::string_view role, HandoverState state) {
  return std::make_unique<Hold>(dir() + "/hold-" + std::string(role) + "-" + std::string(handover::to_string(state)));
}

void RestartsTest::wait(const std::string& what, const std::function<bool()>& reached) {
  const auto waited = cluster().wait_until(what, kPatience, reached);
  ASSERT_TRUE(waited.ok()) << waited.error().message;
}

void RestartsTest::wait_reached(Hold& hold) {
  wait("the held state", [&] { return hold.reached(); });
}

pid_t RestartsTest::worker() {
  const auto facts = cluster().facts(0);
  return facts.ok() ? facts->worker_pid : 0;
}

pid_t RestartsTest::process(Role role) {
  const StoreProcesses all = processes_of(cluster().store(0));
  switch (role) {
    case Role::kOld:
      return old_;
    case Role::kNew:
      for (const pid_t pid : all.trials) return pid;
      for (const pid_t pid : all.workers)
        if (pid != old_) return pid;
      return 0;
    case Role::kSupervisor:
      return all.supervisors.empty() ? 0 : all.supervisors.front();
  }
  return 0;
}

void RestartsTest::strike(pid_t victim, int signal) {
  ASSERT_EQ(::kill(victim, signal), 0);
  wait("the effect of a signal", [&] {
    std::ifstream in("/proc/" + std::to_string(victim) + "/stat");
    std::string text;
    std::getline(in, text);
    const auto name_ends = text.rfind(')');
    const char state = name_ends == std::string::npos ? 'X' : text[name_ends + 2];
    return state == 'T' || (signal == SIGKILL && (state == 'Z' || state == 'X'));
  });
}

bool RestartsTest::facts_name(pid_t supervisor) {
  const auto facts = cluster().facts(0);
  return facts.ok() && facts->pid == supervisor;
}

std::uint64_t RestartsTest::begin_restart(const std::string& binary) {
  old_ = worker();
  const auto begun = cli::restart_by_store(cluster().store(0))->start("a test", binary);
  EXPECT_TRUE(begun.ok()) << begun.error().message;
  return begun.ok() ? begun->accepted_id() : 0;
}

json::object RestartsTest::receipt(std::uint64_t id) {
  json::object receipt;
  wait("the receipt of restart " + std::to_string(id), [&] {
    std::ifstream in(cluster().store(0) + "/RESTARTS.json");
    const auto found = cli::find_receipt(std::string((std::istreambuf_iterator<char>(in)), {}), id);
    if (found) receipt = found->receipt;
    return found.has_value();
  });
  return receipt;
}

std::string RestartsTest::outcome(const json::object& receipt) {
  const auto* text = receipt.if_contains("outcome");
  return text == nullptr ? "no receipt" : std::string(text->as_string());
}

bool RestartsTest::serves(pid_t process, int client_fd) {
  const unsigned long inode = inode_of_peer(client_fd);
  if (inode == 0) return false;
  const std::string wanted = "socket:[" + std::to_string(inode) + "]";
  std::error_code ignored;
  for (const auto& fd : fs::directory_iterator("/proc/" + std::to_string(process) + "/fd", ignored))
    if (fs::read_symlink(fd.path(), ignored) == wanted) return true;
  return false;
}

void RestartsTest::expect_nobody_left_over() {
  const auto alone = [this] {
    const StoreProcesses all = processes_of(cluster().store(0));
    return all.supervisors.size() == 1 && all.workers.size() == 1 && all.trials.empty();
  };
  const auto waited = cluster().wait_until("the end of all processes but two", 20s, alone);
  const StoreProcesses all = processes_of(cluster().store(0));
  EXPECT_TRUE(waited.ok()) << all.supervisors.size() << " supervisors, " << all.workers.size() << " workers, "
                           << all.trials.size() << " trials are left";
}

void RestartsTest::expect_rows(const std::set<long>& acknowledged) {
  const cli::PgReply all = eventually(0, "defaultdb", "SELECT id FROM t");
  std::set<long> there;
  for (const auto& row : all.rows) {
    const long id = std::stol(row[0].value_or("-1"));
    EXPECT_TRUE(there.insert(id).second) << "row " << id << " is there twice";
  }
  for (const long id : acknowledged) EXPECT_TRUE(there.contains(id)) << "row " << id << " was acknowledged and is lost";
}

}  // namespace outlast::testing_support
