#include "handover/self_upgrade.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>

namespace outlast::handover {
namespace json = boost::json;
namespace {
constexpr const char* kVariable = "OUTLAST_SUPERVISOR_STATE";
constexpr int kVersion = 1;

json::object encode(const SupervisorState& state) {
  json::object all{{"version", kVersion},
                   {"lock", state.lock_fd},
                   {"socket", state.socket_fd},
                   {"sql", state.listeners.sql},
                   {"http", state.listeners.http},
                   {"inputs", json::object(state.listeners.inputs.begin(), state.listeners.inputs.end())},
                   {"source_only", state.source_only},
                   {"worker_words", json::array(state.worker_words.begin(), state.worker_words.end())}};
  if (!state.worker) return all;
  const Child& worker = *state.worker;
  all["worker"] = {{"pid", worker.pid},
                   {"pid_fd", worker.pid_fd},
                   {"control_fd", worker.control_fd},
                   {"ours", worker.ours},
                   {"node", worker.node.value},
                   {"incarnation", worker.incarnation.value},
                   {"ready", worker.ready},
                   {"started_ns", worker.started.time_since_epoch().count()},
                   {"binary", worker.binary},
                   {"version", worker.version}};
  return all;
}

std::vector<int> descriptors(const SupervisorState& state) {
  std::vector<int> fds = state.listeners.all();
  fds.insert(fds.end(), {state.lock_fd, state.socket_fd});
  if (state.worker) fds.insert(fds.end(), {state.worker->pid_fd, state.worker->control_fd});
  std::erase(fds, -1);
  return fds;
}

std::unique_ptr<Child> decode_worker(const json::object& said) {
  auto worker = std::make_unique<Child>();
  worker->pid = said.at("pid").to_number<int>();
  worker->pid_fd = said.at("pid_fd").to_number<int>();
  worker->control_fd = said.at("control_fd").to_number<int>();
  worker->ours = said.at("ours").as_bool();
  worker->node = NodeId(said.at("node").to_number<std::uint32_t>());
  worker->incarnation = Incarnation(said.at("incarnation").to_number<std::uint64_t>());
  worker->ready = said.at("ready").as_bool();
  worker->started = Instant(Duration(said.at("started_ns").to_number<std::int64_t>()));
  worker->binary = said.at("binary").as_string();
  worker->version = said.at("version").as_string();
  return worker;
}

std::optional<SupervisorState> decode(const std::string& text) {
  try {
    const json::object all = json::parse(text).as_object();
    if (all.at("version").to_number<int>() != kVersion) return std::nullopt;
    SupervisorState state;
    state.lock_fd = all.at("lock").to_number<int>();
    state.socket_fd = all.at("socket").to_number<int>();
    state.listeners.sql = all.at("sql").to_number<int>();
    state.listeners.http = all.at("http").to_number<int>();
    if (const json::value* inputs = all.if_contains("inputs"))
      for (const auto& [name, fd] : inputs->as_object()) state.listeners.inputs[name] = fd.to_number<int>();
    if (const json::value* source_only = all.if_contains("source_only")) state.source_only = source_only->as_bool();
    for (const json::value& word : all.at("worker_words").as_array()) state.worker_words.emplace_back(word.as_string());
    for (const int fd : descriptors(state))
      if (fcntl(fd, F_GETFD) < 0) return std::nullopt;
    if (const json::value* worker = all.if_contains("worker")) state.worker = decode_worker(worker->as_object());
    return state;
  } catch (const std::exception& error) {
    spdlog::warn("supervisor: the state that the program before left cannot be read: {}", error.what());
    return std::nullopt;
  }
}

std::string read_all(int fd) {
  struct stat is{};
  if (fstat(fd, &is) != 0 || is.st_size <= 0 || is.st_size > 1 << 20) return {};
  std::string text(static_cast<std::size_t>(is.st_size), '\0');
  return pread(fd, text.data(), text.size(), 0) == is.st_size ? text : std::string();
}

int sealed_memory(const std::string& text) {
  const int fd = memfd_create("outlast-supervisor", MFD_ALLOW_SEALING);
  constexpr int kSeals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  if (fd >= 0 && write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
      fcntl(fd, F_ADD_SEALS, kSeals) == 0)
    return fd;
  if (fd >= 0) close(fd);
  return -1;
}
}  // namespace

Error become(const std::string& binary, const std::vector<std::string>& argv, const SupervisorState& state) {
  const int memory = sealed_memory(json::serialize(encode(state)));
  std::string passed = std::to_string(memory);
  for (const int fd : descriptors(state)) passed += " " + std::to_string(fd);
  setenv(kVariable, passed.c_str(), 1);
  for (const int fd : descriptors(state)) fcntl(fd, F_SETFD, 0);
  std::vector<char*> words = {const_cast<char*>(binary.c_str())};
  for (std::size_t i = 1; i < argv.size(); ++i) words.push_back(const_cast<char*>(argv[i].c_str()));
  words.push_back(nullptr);
  if (memory >= 0) execve(binary.c_str(), words.data(), environ);
  Error error(Errc::kUnavailable, "cannot become " + binary + ": " + std::strerror(errno));
  for (const int fd : descriptors(state)) fcntl(fd, F_SETFD, FD_CLOEXEC);
  unsetenv(kVariable);
  if (memory >= 0) close(memory);
  return error;
}

std::optional<SupervisorState> take_passed_state() {
  const char* const variable = std::getenv(kVariable);
  if (variable == nullptr) return std::nullopt;
  std::istringstream numbers(variable);
  unsetenv(kVariable);
  int memory = -1;
  numbers >> memory;
  std::vector<int> fds;
  for (int fd = -1; numbers >> fd;)
    if (fd > 2) fds.push_back(fd);
  for (const int fd : fds) fcntl(fd, F_SETFD, FD_CLOEXEC);
  const std::string text = memory > 2 ? read_all(memory) : "";
  if (memory > 2) close(memory);
  std::optional<SupervisorState> state = decode(text);
  if (!state)
    for (const int fd : fds) close(fd);
  return state;
}

bool same_file(const std::string& a, const std::string& b) {
  struct stat one{}, other{};
  return stat(a.c_str(), &one) == 0 && stat(b.c_str(), &other) == 0 && one.st_dev == other.st_dev &&
         one.st_ino == other.st_ino;
}

std::string path_of_program(const std::string& argv0) {
  std::error_code error;
  if (argv0.find('/') != std::string::npos) {
    const auto path = std::filesystem::absolute(argv0, error);
    if (!error && access(path.c_str(), X_OK) == 0) return path;  // may name a newer file than we are already
  }
  const char* const folders = std::getenv("PATH");
  std::istringstream list(folders == nullptr ? "" : folders);
  for (std::string folder; argv0.find('/') == std::string::npos && std::getline(list, folder, ':');)
    if (same_file(folder + "/" + argv0, "/proc/self/exe")) return folder + "/" + argv0;
  return std::filesystem::read_symlink("/proc/self/exe", error).string();
}

}  // namespace outlast::handover
