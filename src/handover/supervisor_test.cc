// The supervisor with real processes: restarts that work, and deaths, hangs and stops in every state.
#include "handover/supervisor.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>

#include "handover/fake_node.h"

namespace outlast::handover {
namespace {
using fake::eventually;
using fake::FakeNode;
using fake::fresh_store;
using fake::value_of;
using State = HandoverState;

/// Holds the supervisor where it enters a state, by the FIFO of OUTLAST_HANDOVER_HOLD.
class Hold {
 public:
  Hold(const std::string& store, State state) : path_(store + "/hold") {
    mkfifo(path_.c_str(), 0600);
    variable_ = "supervisor:" + std::string(to_string(state)) + ":" + path_;
  }
  const std::string& variable() const { return variable_; }
  /// Waits until the supervisor is there.
  bool reached() {
    return eventually([this] { return (fd_ = open(path_.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC)) >= 0; });
  }
  void release() {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
    unlink(path_.c_str());
  }
  ~Hold() { release(); }

 private:
  const std::string path_;
  std::string variable_;
  int fd_{-1};
};

int count_fds(int pid) {
  const std::filesystem::directory_iterator all("/proc/" + std::to_string(pid) + "/fd");
  return static_cast<int>(std::distance(begin(all), end(all)));
}

TEST(Supervisor, ReplacesTheWorkerAndKeepsPidAndListener) {
  FakeNode node(fresh_store());
  node.start();
  const int before = node.served_by();
  node.write("version", "two");
  const std::string receipt = node.restart();
  EXPECT_EQ(value_of(receipt, "outcome"), "completed") << receipt;
  EXPECT_EQ(value_of(receipt, "by"), "a test");
  EXPECT_EQ(value_of(receipt, "from_version"), "one");
  EXPECT_EQ(value_of(receipt, "to_version"), "two");
  EXPECT_EQ(value_of(receipt, "moved"), "3");
  EXPECT_EQ(value_of(receipt, "attempts"), "1");
  EXPECT_NE(node.served_by(), before);
  EXPECT_FALSE(fake::lives(before));
  EXPECT_EQ(node.living_workers(), 1);
  EXPECT_NE(node.read("fenced").find(std::to_string(before)), std::string::npos);
  EXPECT_EQ(node.read("pid"), std::to_string(node.pid()) + "\n");
  node.signal(SIGTERM);
  EXPECT_EQ(node.wait_for_end(), 0);
  EXPECT_EQ(node.read("pid"), "") << "removed at a real stop";
  EXPECT_FALSE(std::filesystem::exists(node.store() + "/supervisor.sock"));
}

TEST(Supervisor, RestartsOnSigusr2) {
  FakeNode node(fresh_store());
  node.start();
  node.signal(SIGUSR2);
  EXPECT_EQ(value_of(node.wait_for_receipt(1), "by"), "SIGUSR2");
}

TEST(Supervisor, ATrialThatDoesNotPassChangesNothing) {
  FakeNode node(fresh_store());
  node.start();
  const int before = node.served_by();
  for (const auto& [what, why] : {std::pair("no", "the configuration names no store"),
                                  {"garbage", "did not print"},
                                  {"flood", "did not print"},
                                  {"die", "was killed by signal 9"},
                                  {"hang", "did not end within"}}) {
    node.write("trial", what);
    const std::string receipt = node.restart();
    EXPECT_EQ(value_of(receipt, "outcome"), "refused") << receipt;
    EXPECT_NE(receipt.find(why), std::string::npos) << receipt;
  }
  node.write("trial", "");
  node.write("config", "broken");
  EXPECT_NE(node.restart().find("the configuration is broken"), std::string::npos);
  EXPECT_NE(node.restart("/no/such/binary").find("broken"), std::string::npos);
  node.write("config", "");
  EXPECT_NE(node.restart("/no/such/binary").find("cannot start /no/such/binary"), std::string::npos);
  EXPECT_EQ(node.served_by(), before);
  EXPECT_EQ(node.living_workers(), 1);
}

/// What A8 says for a worker that fails in this state; empty: a worker of this role is not in it.
std::vector<std::string> outcomes(const std::string& role, State state) {
  switch (state) {
    case State::kIdle:
    case State::kDone:
      return {};
    case State::kTrial:  // the old one is started again at once, or the new one instead
      if (role == "old") return {"completed", "recovered"};
      return {};
    case State::kStandby:
    case State::kSessions:
      return {role == "old" ? "recovered" : "rolled_back"};
    case State::kStorageReleased:
      return {role == "old" ? "completed" : "recovered"};
    case State::kOwned:
      return {"completed"};
  }
  return {};
}

void fail_in(const std::string& role, State state, const std::string& how) {
  const std::vector<std::string> wanted = outcomes(role, state);
  if (wanted.empty() || (how == "hang" && state == State::kTrial)) return;
  SCOPED_TRACE(role + " " + how + "s in " + std::string(to_string(state)));
  FakeNode node(fresh_store());
  node.start();
  const int old = node.served_by();
  node.write("hook", role + ":" + std::string(to_string(state)) + ":" + how);
  const std::string receipt = node.restart();
  EXPECT_TRUE(std::ranges::count(wanted, value_of(receipt, "outcome")) > 0) << receipt;
  EXPECT_EQ(node.read("hook"), "") << "it did not get there";
  if (how == "hang" && role == "new" && state == State::kOwned) {
    // The worker of an idle node: nobody watches whether it hangs.
    kill(std::stoi(value_of(node.ask("restart_status", ""), "worker_pid")), SIGKILL);
  }
  const int now = node.served_by();
  EXPECT_NE(now, 0);
  EXPECT_EQ(now == old, wanted.front() == "rolled_back");
  EXPECT_TRUE(eventually([&] { return node.living_workers() == 1; }));
}

TEST(Supervisor, AWorkerThatDiesInAnyStateHasItsOutcome) {
  for (const State state : kAllHandoverStates)
    for (const char* role : {"old", "new"}) fail_in(role, state, "die");
}

TEST(Supervisor, AWorkerThatHangsInAnyStateHasItsOutcome) {
  for (const State state : kAllHandoverStates)
    for (const char* role : {"old", "new"}) fail_in(role, state, "hang");
}

TEST(Supervisor, AfterTheReleaseTheOldBinaryHelpsWhenTheNewOneDiesTwice) {
  FakeNode node(fresh_store());
  node.start();
  node.write("hook", "new:storage_released:fatal:always");
  std::string receipt;
  node.ask("restart", R"({"by":"a test"})");
  EXPECT_TRUE(eventually([&] { return node.workers().size() >= 3; }));
  std::filesystem::remove(node.store() + "/hook");
  // Whoever is the last sees no hook, or the supervisor has given up: both binaries said that they cannot.
  const bool ended = eventually([&] {
    receipt = node.read("RESTARTS.json");
    return value_of(receipt, "outcome") == "recovered";
  });
  EXPECT_TRUE(ended) << receipt;
}

TEST(Supervisor, AStormIsOneMoreRestart) {
  FakeNode node(fresh_store());
  Hold hold(node.store(), State::kStandby);
  node.start({.environment = {{"OUTLAST_HANDOVER_HOLD", hold.variable()}}});
  EXPECT_EQ(value_of(node.ask("restart", R"({"by":"first"})"), "accepted"), "1");
  ASSERT_TRUE(hold.reached());
  std::vector<int> clients;
  for (int i = 0; i < 100; ++i) {
    const int fd = connect_in(node.store(), "supervisor.sock").value();
    ASSERT_TRUE(send_control(fd, {ControlMessage::Kind::kRestart, {}, {}, R"({"by":"storm"})"}).ok());
    clients.push_back(fd);
    node.signal(SIGUSR2);
  }
  hold.release();
  const std::string receipt = node.wait_for_receipt(2);
  EXPECT_EQ(value_of(receipt, "id"), "2");
  for (const int fd : clients) {
    std::optional<ControlMessage> answer;
    eventually([&] {
      auto message = receive_control(fd);
      if (message.ok()) answer = std::move(*message);
      return answer.has_value() || !message.ok();
    });
    ASSERT_TRUE(answer);
    EXPECT_EQ(value_of(answer->text, "accepted"), "2") << answer->text;
    close(fd);
  }
  EXPECT_EQ(value_of(node.ask("restart_status", ""), "id"), "2");
  EXPECT_EQ(node.workers().size(), 3U);
}

TEST(Supervisor, AStopInAnyStateLeavesNobody) {
  for (const State state : kAllHandoverStates) {
    SCOPED_TRACE(to_string(state));
    FakeNode node(fresh_store());
    Hold hold(node.store(), state);
    node.start({.environment = {{"OUTLAST_HANDOVER_HOLD", hold.variable()}}});
    node.signal(SIGUSR2);
    ASSERT_TRUE(hold.reached());
    node.signal(SIGTERM);
    node.signal(SIGTERM);
    hold.release();
    EXPECT_EQ(node.wait_for_end(), 0);
    EXPECT_TRUE(eventually([&] { return node.living_workers() == 0; }));
  }
}

TEST(Supervisor, ASigintWhileAWorkerDoesNotStopKillsIt) {
  FakeNode node(fresh_store());
  node.write("stop", "never");
  node.start();
  node.signal(SIGTERM);
  EXPECT_TRUE(eventually([&] { return value_of(node.ask("restart", "{}"), "error") != ""; }));
  node.signal(SIGINT);
  EXPECT_EQ(node.wait_for_end(), 1);
  EXPECT_EQ(node.living_workers(), 0);
}

TEST(Supervisor, WhoWaitsGetsEveryChangeAndItsReceiptLast) {
  FakeNode node(fresh_store());
  node.start();
  const int fd = connect_in(node.store(), "supervisor.sock").value();
  ASSERT_TRUE(send_control(fd, {ControlMessage::Kind::kRestart, {}, {}, R"({"by":"cli","wait":true})"}).ok());
  std::vector<std::string> said;
  eventually([&] {
    auto message = receive_control(fd);
    if (message.ok() && message->has_value()) said.push_back((*message)->text);
    return !message.ok();
  });
  close(fd);
  ASSERT_GE(said.size(), 7U);
  EXPECT_EQ(value_of(said.front(), "accepted"), "1");
  for (std::size_t i = 0; i + 1 < said.size(); ++i) EXPECT_EQ(value_of(said[i], "receipt"), "null") << said[i];
  EXPECT_EQ(value_of(said.back(), "outcome"), "completed");
}

TEST(Supervisor, AnswersPlanAndReloadAndRefusesNonsense) {
  FakeNode node(fresh_store());
  node.start();
  EXPECT_EQ(node.ask("plan", "{}"), R"({"trial":{"version":"one","warnings":[]},"worker":{"moves":2}})");
  node.write("trial", "no");
  EXPECT_EQ(node.ask("plan", "{}"), R"({"trial":{"error":"the configuration names no store"},"worker":{"moves":2}})");
  EXPECT_EQ(node.ask("reload", ""), R"({"now":{"log-level":"debug"}})");
  EXPECT_NE(value_of(node.ask("restart", "not JSON"), "error"), "");
  EXPECT_NE(value_of(node.ask("restart", R"({"binary":"a/relative/path"})"), "error"), "");
  EXPECT_NE(value_of(node.ask("hand_over", ""), "error"), "");
}

TEST(Supervisor, ClientsThatMisbehaveHurtNobody) {
  FakeNode node(fresh_store());
  node.start();
  std::vector<int> bad;
  for (int i = 0; i < 300; ++i) {
    auto fd = connect_in(node.store(), "supervisor.sock");
    if (!fd.ok()) continue;
    const std::string packet = i % 3 == 0 ? std::string(150'000, 'x') : i % 3 == 1 ? "half a" : "";
    if (!packet.empty()) (void)!send(*fd, packet.data(), packet.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    // Asks for every change and never reads one.
    if (i % 3 == 2) (void)send_control(*fd, {ControlMessage::Kind::kRestart, {}, {}, R"({"wait":true})"});
    bad.push_back(*fd);
  }
  EXPECT_TRUE(eventually([&] { return value_of(node.read("RESTARTS.json"), "last_id") != ""; }));
  for (const int fd : bad) close(fd);
  EXPECT_EQ(value_of(node.restart(), "outcome"), "completed");
}

TEST(Supervisor, NamesACrashLoopAndLeavesItByARestart) {
  FakeNode node(fresh_store());
  node.write("hook", "worker:start:die:always");
  node.start({.environment = {}, .wait_until_ready = false});
  EXPECT_TRUE(eventually([&] { return value_of(node.ask("restart_status", ""), "crash_loop") == "true"; }));
  std::filesystem::remove(node.store() + "/hook");
  node.signal(SIGUSR2);
  EXPECT_NE(node.served_by(), 0);
  EXPECT_TRUE(eventually([&] { return value_of(node.ask("restart_status", ""), "crash_loop") == "false"; }));
}

TEST(Supervisor, HoldsNoMoreDescriptorsAfterFiftyRestarts) {
  FakeNode node(fresh_store());
  node.start();
  ASSERT_EQ(value_of(node.restart(), "outcome"), "completed");
  const int before = count_fds(node.pid());
  for (int i = 0; i < 50; ++i) ASSERT_EQ(value_of(node.restart(), "outcome"), "completed");
  EXPECT_TRUE(eventually([&] { return count_fds(node.pid()) <= before; })) << before << " " << count_fds(node.pid());
  EXPECT_EQ(node.living_workers(), 1);
  EXPECT_EQ(value_of(node.read("RESTARTS.json"), "last_id"), "51");
}

}  // namespace
}  // namespace outlast::handover
