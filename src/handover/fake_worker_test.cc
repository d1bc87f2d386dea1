// The scripted worker, trial and supervisor that the tests of the supervisor run: see fake_node.h.
#include <fcntl.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "handover/fake_node.h"
#include "handover/receipt.h"
#include "handover/states.h"
#include "handover/supervisor.h"

namespace outlast::handover::fake {
namespace {
using namespace std::chrono_literals;
using Kind = ControlMessage::Kind;

std::string read_file(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// What the hook of this role and state says is done at once.
void hook(const std::string& store, const std::string& role, const std::string& state) {
  const std::string text = read_file(store + "/hook"), here = role + ":" + state + ":";
  if (!text.starts_with(here)) return;
  const std::string what = text.substr(here.size());
  if (!what.ends_with(":always")) unlink((store + "/hook").c_str());
  if (what.starts_with("die")) kill(getpid(), SIGKILL);
  if (what.starts_with("fatal")) _exit(kExitFatal);
  if (what.starts_with("hang")) raise(SIGSTOP);
}

class Worker {
 public:
  Worker(std::string store, bool standby, bool source_only)
      : store_(std::move(store)), standby_(standby), source_only_(source_only) {}
  int run();

 private:
  void say(Kind kind, const std::string& text = {}, int fd = -1) {
    (void)send_control(control_, {kind, NodeId(1), Incarnation(static_cast<std::uint64_t>(getpid())), text, fd});
  }
  void write_pair(char byte) { (void)!send(pair_, &byte, 1, MSG_NOSIGNAL); }
  void state(const char* name) { say(Kind::kState, name); }
  void own() {
    lock_ = open((store_ + "/LOCK").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    struct flock whole{};
    whole.l_type = F_WRLCK;
    whole.l_whence = SEEK_SET;
    while (fcntl(lock_, F_OFD_SETLKW, &whole) != 0) {
    }
    worker_socket_ = listen_in(store_, "worker.sock").value();
    owns_ = true;
  }
  void release() {
    unlink((store_ + "/worker.sock").c_str());
    close(std::exchange(worker_socket_, -1));
    close(std::exchange(lock_, -1));
    owns_ = false;
    released_ = true;
  }
  void take_over(bool old_died) {
    if (pair_ >= 0) close(std::exchange(pair_, -1));
    hook(store_, "new", "storage_released");
    own();
    accepts_ = true;
    standby_ = false;
    say(Kind::kOwned, std::string(R"({"sessions":{"moved":3,"lost":0},"refused":0,"reset":0,"old_died":)") +
                          (old_died ? "true}" : "false}"));
  }
  void on_control();
  void on_pair();
  void on_message(ControlMessage& message);
  void adopted();

  void note_mode() const {
    std::ofstream(store_ + "/mode." + std::to_string(getpid())) << (source_only_ ? "source_only" : "stores");
  }

  const std::string store_;
  bool standby_, source_only_, accepts_{false}, owns_{false}, released_{false};
  int control_{kControlFd}, pair_{-1}, lock_{-1}, worker_socket_{-1};
};

void Worker::on_message(ControlMessage& message) {
  const std::string role = standby_ ? "new" : pair_ >= 0 || released_ ? "old" : "worker";
  switch (message.kind) {
    case Kind::kStop:
      if (read_file(store_ + "/stop") != "never") _exit(kExitStopped);
      return;
    case Kind::kHandOver:
      if (pair_ >= 0) close(pair_);
      pair_ = std::exchange(message.fd, -1);
      return;
    case Kind::kRestartStatus: {
      const std::string now = json_text(message.text, "state");
      // Those two begin with what the workers say to each other: on_pair() is exact about them.
      if (now != "sessions" && now != "storage_released")
        hook(store_, owns_ && now != "owned" && now != "done" ? "old" : released_ ? "old" : "new", now);
      if (released_ && now == "owned" && value_of(message.text, "outcome") != "" &&
          value_of(message.text, "id") == value_of(message.text.substr(message.text.find("receipt")), "id"))
        _exit(kExitStopped);
      return;
    }
    case Kind::kEndSourceOnly:
      source_only_ = false;
      return note_mode();
    case Kind::kPlan:
      return say(Kind::kPlan, R"({"moves":2})");
    default:
      return;
  }
}

void Worker::on_control() {
  for (;;) {
    auto message = receive_control(control_);
    if (!message.ok()) {
      close(std::exchange(control_, -1));
      if (released_) _exit(1);
      return;
    }
    if (!message->has_value()) return;
    on_message(**message);
    if ((*message)->fd >= 0) close((*message)->fd);
  }
}

void Worker::on_pair() {
  char byte = 0;
  const ssize_t n = recv(pair_, &byte, 1, MSG_DONTWAIT);
  if (n < 0) return;
  if (n == 0) {  // the other one is gone
    close(std::exchange(pair_, -1));
    if (standby_) return take_over(true);
    if (!released_) accepts_ = true;
    return;
  }
  if (byte == 'R' && released_) return write_pair('L');
  if (byte == 'R') {
    state("sessions");
    hook(store_, "old", "sessions");
    accepts_ = false;
    write_pair('S');
  } else if (byte == 'S') {
    state("sessions");
    hook(store_, "new", "sessions");
    accepts_ = true;
    write_pair('T');
  } else if (byte == 'T') {
    release();
    state("storage_released");
    hook(store_, "old", "storage_released");
    write_pair('L');
  } else if (byte == 'L') {
    take_over(false);
  }
}

void Worker::adopted() {
  const int control = accept4(worker_socket_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (control < 0) return;
  if (control_ >= 0) close(control_);
  control_ = control;
  say(Kind::kIncarnation);
  say(Kind::kReady, "fake");
  if (source_only_) say(Kind::kSourceOnly);
  say(Kind::kListener, "sql", kSqlFd);
  say(Kind::kListener, "http", kHttpFd);
}

int Worker::run() {
  std::ofstream(store_ + "/workers", std::ios::app) << getpid() << "\n";
  note_mode();
  fcntl(control_, F_SETFL, O_NONBLOCK);
  if (standby_) {
    pair_ = kHandoverFd;
    hook(store_, "new", "standby");
    say(Kind::kIncarnation);
    say(Kind::kReady, read_file(store_ + "/version"));
    write_pair('R');
    state("standby");
  } else {
    hook(store_, "worker", "start");
    own();
    accepts_ = true;
    say(Kind::kIncarnation);
    say(Kind::kReady, read_file(store_ + "/version"));
  }
  for (;;) {
    pollfd fds[] = {
        {control_, POLLIN, 0}, {pair_, POLLIN, 0}, {worker_socket_, POLLIN, 0}, {accepts_ ? kSqlFd : -1, POLLIN, 0}};
    if (poll(fds, 4, -1) < 0) continue;
    if (fds[2].revents != 0) adopted();
    if (fds[1].revents != 0) on_pair();
    if (fds[0].revents != 0) on_control();
    if (fds[3].revents == 0) continue;
    const int client = accept4(kSqlFd, nullptr, nullptr, SOCK_CLOEXEC);
    const std::string pid = std::to_string(getpid()) + "\n";
    (void)!send(client, pid.data(), pid.size(), MSG_NOSIGNAL);
    close(client);
  }
}

int run_trial(const std::string& store) {
  const std::string what = read_file(store + "/trial");
  if (what == "hang") raise(SIGSTOP);
  if (what == "garbage") return std::puts("not JSON at all"), 0;
  if (what == "flood") {
    for (int i = 0; i < 100'000; ++i) std::puts("a line that nobody wants to keep");
    return 0;
  }
  if (what == "die") kill(getpid(), SIGKILL);
  if (what == "orphan" && fork() == 0) _exit(0);  // as PID 1 the supervisor inherits it
  if (what == "no") return std::fputs("outlast: the configuration names no store\n", stderr), 2;
  std::printf("{\"version\":\"%s\",\"warnings\":[]}\n", read_file(store + "/version").c_str());
  return 0;
}

class TestClock final : public Clock {
 public:
  Instant now() const override {
    timespec t{};
    clock_gettime(CLOCK_BOOTTIME, &t);
    return Instant(std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec));
  }
  std::int64_t wall_micros() const override { return time(nullptr) * 1'000'000; }
};

int run_supervisor(const std::vector<std::string>& argv, const std::string& store) {
  if (std::getenv("OUTLAST_TEST_LOG") == nullptr) spdlog::set_level(spdlog::level::off);
  Supervisor::block_signals();
  std::optional<SupervisorState> passed = take_passed_state();
  const Listeners given = inherited_listeners("127.0.0.1:0", "127.0.0.1:0");
  TestClock clock;
  SupervisorOptions o;
  o.lock_fd = passed ? passed->lock_fd : open((store + "/SUPERVISOR").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (!passed && flock(o.lock_fd, LOCK_EX) != 0) return 1;
  o.argv = argv;
  o.binary = path_of_program(argv[0]);
  o.version = "first";
  o.store = store;
  o.pid_file = store + "/pid";
  o.command_lines = [store]() -> Result<CommandLines> {
    if (read_file(store + "/config") == "broken") return Error(Errc::kInvalidArgument, "the configuration is broken");
    return CommandLines{.worker = {"fake-worker", store}, .trial = {"fake-trial", store}};
  };
  o.bind = [&](const Listeners& open) -> Result<Listeners> {
    if (open.sql >= 0) return open;
    Listeners all = given;
    if (all.sql < 0) all.sql = listen_on("127.0.0.1:0").value();
    if (all.http < 0) all.http = listen_on("127.0.0.1:0").value();
    std::ofstream(store + "/address") << address_of(all.sql);
    return all;
  };
  o.reload = []() -> Result<std::string> { return std::string(R"({"now":{"log-level":"debug"}})"); };
  o.source_only = std::filesystem::exists(store + "/with_source_only");
  o.clock = &clock;
  o.fence = [store](NodeId, Incarnation i) { std::ofstream(store + "/fenced", std::ios::app) << i.value << "\n"; };
  o.timeouts = {.trial = 2s, .standby = 2s, .sessions = 2s, .owned = 2s, .leaving = 2s};
  o.passed = std::move(passed);
  return Supervisor(std::move(o)).run();
}

/// Before main, which is GoogleTest's.
[[gnu::constructor]] void become_fake(int argc, char** argv) {
  if (argc < 3 || !std::string_view(argv[1]).starts_with("fake-")) return;
  const std::vector<std::string> words(argv, argv + argc);
  const std::string store = words[2];
  const auto has = [&words](const char* word) { return std::ranges::find(words, word) != words.end(); };
  if (words[1] == "fake-worker") std::exit(Worker(store, has("--standby"), has("--source-only")).run());
  if (words[1] == "fake-trial") std::exit(run_trial(store));
  if (words[1] != "fake-supervisor") return;
  const char* const passed = std::getenv("LISTEN_FDS");
  if (passed != nullptr) setenv("LISTEN_PID", std::to_string(getpid()).c_str(), 1);
  std::exit(run_supervisor(words, store));
}
}  // namespace
}  // namespace outlast::handover::fake
