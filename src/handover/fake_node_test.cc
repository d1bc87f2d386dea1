#include "handover/fake_node.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "handover/control.h"
#include "handover/receipt.h"
#include "handover/sockets.h"

namespace outlast::handover::fake {
namespace json = boost::json;
namespace {
using Kind = ControlMessage::Kind;
constexpr int kPatienceMs = 30'000;

Kind kind_of(const std::string& name) {
  return decode_control(name).kind;
}

std::optional<ControlMessage> receive(int fd) {
  pollfd said{fd, POLLIN, 0};
  if (poll(&said, 1, kPatienceMs) <= 0) return std::nullopt;
  auto message = receive_control(fd);
  return message.ok() ? *message : std::nullopt;
}
}  // namespace

bool lives(int pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(in, text);  // empty when it has gone in the meantime
  const std::size_t at = text.rfind(") ");
  return at != std::string::npos && text[at + 2] != 'Z';
}

std::string own_program() {
  return std::filesystem::read_symlink("/proc/self/exe").string();
}

void pause_briefly() {
  usleep(10'000);
}

std::string value_of(const std::string& text, const std::string& key) {
  const std::size_t at = text.find("\"" + key + "\":");
  if (at == std::string::npos) return {};
  const std::size_t from = at + key.size() + 3;
  const std::string rest = text.substr(from, text.find_first_of(",}", from) - from);
  return rest.starts_with('"') ? rest.substr(1, rest.size() - 2) : rest;
}

std::string fresh_store() {
  static int number = 0;
  return testing::TempDir() + "supervisor-" + std::to_string(getpid()) + "-" + std::to_string(++number);
}

FakeNode::FakeNode(std::string store) : store_(std::move(store)) {
  std::filesystem::remove_all(store_);
  std::filesystem::create_directories(store_);
  write("version", "one");
}

FakeNode::~FakeNode() {
  if (pid_ != 0) kill(pid_, SIGKILL);
  if (pid_ != 0) waitpid(pid_, nullptr, 0);
  for (const int worker : workers())
    if (lives(worker)) kill(worker, SIGKILL);
  std::filesystem::remove_all(store_);
}

void FakeNode::start(const Start& how) {
  std::vector<std::string> words = how.prefix;
  for (const std::string& word :
       {how.program.empty() ? own_program() : how.program, std::string("fake-supervisor"), store_})
    words.push_back(word);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::filesystem::remove(store_ + "/pid");
  pid_ = fork();
  if (pid_ == 0) {
    std::vector<int> high;  // out of the way of each other's targets
    for (const int fd : how.listen_fds) high.push_back(fcntl(fd, F_DUPFD_CLOEXEC, 20));
    for (std::size_t i = 0; i < high.size(); ++i) dup2(high[i], 3 + static_cast<int>(i));
    if (!how.listen_fds.empty()) setenv("LISTEN_FDS", std::to_string(how.listen_fds.size()).c_str(), 1);
    for (const auto& [name, value] : how.environment) setenv(name.c_str(), value.c_str(), 1);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  // Served, and the supervisor knows it.
  if (how.wait_until_ready) eventually([this] { return std::filesystem::exists(store_ + "/pid"); });
}

void FakeNode::write(const std::string& name, const std::string& text) const {
  std::ofstream(store_ + "/." + name) << text;
  std::filesystem::rename(store_ + "/." + name, store_ + "/" + name);
}

std::string FakeNode::read(const std::string& name) const {
  std::ifstream in(store_ + "/" + name);
  return {std::istreambuf_iterator<char>(in), {}};
}

int FakeNode::wait_for_end() {
  int status = -1;
  const bool ended = eventually([&] { return waitpid(pid_, &status, WNOHANG) == pid_; });
  if (!ended) return -1;
  pid_ = 0;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

void FakeNode::signal(int number) const {
  kill(pid_, number);
}

int FakeNode::connect() const {
  const std::string address = read("address");
  const std::size_t colon = address.find(':');
  if (colon == std::string::npos) return -1;
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  in.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(colon + 1))));
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&in), sizeof in) == 0) return fd;
  close(fd);
  return -1;
}

int FakeNode::served_by() const {
  int pid = 0;
  eventually([&] {
    const int fd = connect();
    pollfd said{fd, POLLIN, 0};
    char text[32] = "";
    if (fd >= 0 && poll(&said, 1, kPatienceMs) > 0 && ::read(fd, text, sizeof text - 1) > 0) pid = std::atoi(text);
    if (fd >= 0) close(fd);
    return pid != 0;
  });
  return pid;
}

std::string FakeNode::ask(const std::string& kind, const std::string& text) const {
  std::string answer;
  eventually([&] {
    auto fd = connect_in(store_, "supervisor.sock");
    if (!fd.ok()) return false;
    if (send_control(*fd, {kind_of(kind), {}, {}, text}).ok())
      if (const auto message = receive(*fd)) answer = message->text;
    close(*fd);
    return !answer.empty();
  });
  return answer;
}

std::string FakeNode::restart(const std::string& binary) const {
  json::object wish{{"by", "a test"}};
  if (!binary.empty()) wish["binary"] = binary;
  const std::string id = value_of(ask("restart", json::serialize(wish)), "accepted");
  return id.empty() ? "" : wait_for_receipt(std::stoull(id));
}

std::string FakeNode::wait_for_receipt(std::uint64_t id) const {
  std::string receipt;
  eventually([&] {
    const std::string status = ask("restart_status", "");
    boost::system::error_code error;
    const json::value value = json::parse(status, error);
    if (error || !value.is_object() || value.at("state") != "idle" || !value.at("receipt").is_object()) return false;
    if (value.at("receipt").at("id").to_number<std::uint64_t>() < id) return false;
    receipt = json::serialize(value.at("receipt"));
    return true;
  });
  return receipt;
}

std::vector<int> FakeNode::workers() const {
  std::ifstream in(store_ + "/workers");
  return {std::istream_iterator<int>(in), {}};
}

int FakeNode::living_workers() const {
  int living = 0;
  for (const int pid : workers()) living += lives(pid) ? 1 : 0;
  return living;
}

}  // namespace outlast::handover::fake
