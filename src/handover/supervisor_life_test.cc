// The supervisor's own life: killed and followed by another, upgraded in place, beside a process manager, as PID 1.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "handover/fake_node.h"
#include "handover/supervisor.h"

namespace outlast::handover {
namespace {
using fake::eventually;
using fake::FakeNode;
using fake::fresh_store;
using fake::value_of;
using State = HandoverState;

void kill_supervisor(FakeNode& node) {
  node.signal(SIGKILL);
  EXPECT_EQ(node.wait_for_end(), 1000 + SIGKILL);
}

std::string read_line(int fd) {
  pollfd said{fd, POLLIN, 0};
  char text[32] = "";
  const bool there = poll(&said, 1, 30'000) > 0;
  const ssize_t n = there ? read(fd, text, sizeof text) : 0;
  close(fd);
  return {text, n > 0 ? static_cast<std::size_t>(n) : 0};
}

TEST(SupervisorLife, AWorkerOutlivesItsSupervisorAndIsAdoptedWithItsQueue) {
  FakeNode node(fresh_store());
  node.start();
  const int worker = node.served_by();
  kill_supervisor(node);
  EXPECT_EQ(node.served_by(), worker) << "it serves on";
  kill(worker, SIGSTOP);  // what comes now waits in the accept queue
  const int queued = node.connect();
  ASSERT_GE(queued, 0);
  node.start({.wait_until_ready = false});
  kill(worker, SIGCONT);
  EXPECT_EQ(read_line(queued), std::to_string(worker) + "\n");
  EXPECT_TRUE(
      eventually([&] { return value_of(node.ask("restart_status", ""), "worker_pid") == std::to_string(worker); }));
  EXPECT_EQ(node.workers().size(), 1U);
  EXPECT_EQ(value_of(node.restart(), "outcome"), "completed");
  EXPECT_NE(node.served_by(), worker);
  node.signal(SIGTERM);
  EXPECT_EQ(node.wait_for_end(), 0);
}

TEST(SupervisorLife, AnAdoptedWorkerThatDiesIsStartedAgain) {
  FakeNode node(fresh_store());
  node.start();
  const int worker = node.served_by();
  kill_supervisor(node);
  node.start();
  EXPECT_TRUE(
      eventually([&] { return value_of(node.ask("restart_status", ""), "worker_pid") == std::to_string(worker); }));
  kill(worker, SIGKILL);
  EXPECT_TRUE(eventually([&] { return node.served_by() != worker; }));
  EXPECT_NE(node.read("fenced").find(std::to_string(worker)), std::string::npos);
}

TEST(SupervisorLife, ASupervisorKilledInAnyStateIsFollowedByOneThatServes) {
  for (const State state : kAllHandoverStates) {
    SCOPED_TRACE(to_string(state));
    FakeNode node(fresh_store());
    const std::string fifo = node.store() + "/hold";
    mkfifo(fifo.c_str(), 0600);
    const std::string hold = "supervisor:" + std::string(to_string(state)) + ":" + fifo;
    node.start({.environment = {{"OUTLAST_HANDOVER_HOLD", hold}}});
    node.signal(SIGUSR2);
    int fd = -1;
    ASSERT_TRUE(eventually([&] { return (fd = open(fifo.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC)) >= 0; }));
    kill_supervisor(node);
    close(fd);
    node.start();
    EXPECT_NE(node.served_by(), 0);
    EXPECT_TRUE(eventually([&] { return node.living_workers() == 1; }));
    const std::string receipt = node.restart();
    EXPECT_EQ(value_of(receipt, "outcome"), "completed") << receipt;
    EXPECT_GE(value_of(receipt, "id"), "2") << "an id is never given twice";
  }
}

TEST(SupervisorLife, BecomesTheNewBinaryInPlace) {
  FakeNode node(fresh_store());
  const std::string program = node.store() + "/program", next = node.store() + "/program.new";
  std::filesystem::copy_file(fake::own_program(), program);
  node.start({.program = program});
  const int fds = static_cast<int>(
      std::distance(std::filesystem::directory_iterator("/proc/" + std::to_string(node.pid()) + "/fd"), {}));
  for (int i = 0; i < 3; ++i) {
    std::filesystem::copy_file(fake::own_program(), next);
    std::filesystem::rename(next, program);
    EXPECT_FALSE(same_file("/proc/" + std::to_string(node.pid()) + "/exe", program));
    const std::string receipt = node.restart();
    EXPECT_EQ(value_of(receipt, "outcome"), "completed") << receipt;
    EXPECT_TRUE(eventually([&] { return same_file("/proc/" + std::to_string(node.pid()) + "/exe", program); }));
    EXPECT_NE(node.served_by(), 0);
  }
  EXPECT_TRUE(eventually([&] {
    return std::distance(std::filesystem::directory_iterator("/proc/" + std::to_string(node.pid()) + "/fd"), {}) <= fds;
  }));
  EXPECT_EQ(node.read("pid"), std::to_string(node.pid()) + "\n");
  const int worker = node.served_by();
  kill(worker, SIGKILL);  // its status is still ours to learn
  EXPECT_TRUE(eventually([&] { return node.served_by() != worker; }));
  node.signal(SIGTERM);
  EXPECT_EQ(node.wait_for_end(), 0);
}

TEST(SupervisorLife, RemembersTheBinaryThatWasAskedFor) {
  FakeNode node(fresh_store());
  const std::string program = node.store() + "/other";
  std::filesystem::copy_file(fake::own_program(), program);
  node.start();
  EXPECT_EQ(value_of(node.restart(program), "outcome"), "completed");
  const std::string exe = "/proc/" + std::to_string(node.pid()) + "/exe";
  EXPECT_TRUE(eventually([&] { return same_file(exe, program); }));
  EXPECT_EQ(value_of(node.restart(), "outcome"), "completed");
  EXPECT_TRUE(same_file("/proc/" + std::to_string(node.served_by()) + "/exe", program));
}

TEST(SupervisorLife, FallsBackToAdoptionWhenItDoesNotUnderstandWhatWasPassed) {
  setenv("OUTLAST_SUPERVISOR_STATE", "900 901 902", 1);
  EXPECT_FALSE(take_passed_state());
  EXPECT_EQ(std::getenv("OUTLAST_SUPERVISOR_STATE"), nullptr);
  const int memory = open((testing::TempDir() + "future").c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const std::string text = R"({"version":99,"anything":true})";
  ASSERT_EQ(write(memory, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  const int passed = dup(memory);
  setenv("OUTLAST_SUPERVISOR_STATE", (std::to_string(memory) + " " + std::to_string(passed)).c_str(), 1);
  EXPECT_FALSE(take_passed_state());
  EXPECT_LT(fcntl(passed, F_GETFD), 0) << "closed, so that its lock is free";
  EXPECT_LT(fcntl(memory, F_GETFD), 0);
}

TEST(SupervisorLife, TakesTheSocketsThatAProcessManagerPasses) {
  FakeNode node(fresh_store());
  const int sql = listen_on("127.0.0.1:0").value(), http = listen_on("127.0.0.1:0").value();
  node.start({.environment = {{"LISTEN_FDNAMES", "http:sql"}}, .listen_fds = {http, sql}});
  EXPECT_EQ(node.read("address"), address_of(sql));
  close(sql);
  close(http);
  EXPECT_NE(node.served_by(), 0);
}

TEST(SupervisorLife, TakesUnnamedSocketsInOrderAndNoneThatAreForAnother) {
  const int sql = listen_on("127.0.0.1:0").value(), http = listen_on("127.0.0.1:0").value();
  {
    FakeNode node(fresh_store());
    node.start({.listen_fds = {sql, http}});
    EXPECT_EQ(node.read("address"), address_of(sql));
  }
  setenv("LISTEN_PID", "1", 1);
  setenv("LISTEN_FDS", "2", 1);
  const Listeners none = inherited_listeners("127.0.0.1:0", "127.0.0.1:0");
  EXPECT_EQ(none.sql, -1);
  EXPECT_EQ(none.http, -1);
  EXPECT_EQ(std::getenv("LISTEN_FDS"), nullptr);
  close(sql);
  close(http);
}

/// A process manager's end of sd_notify.
class Manager {
 public:
  explicit Manager(const std::string& path) : path_(path), fd_(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  }
  ~Manager() {
    close(fd_);
    for (const int fd : passed_) close(fd);
  }
  /// Datagrams up to the one that holds `last`; MONOTONIC_USEC's number left out.
  std::vector<std::string> until(const std::string& last) {
    std::vector<std::string> said;
    pollfd there{fd_, POLLIN, 0};
    while (poll(&there, 1, 30'000) > 0) {
      char space[64], text[1000];
      iovec part{text, sizeof text};
      msghdr message{};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      message.msg_control = space;
      message.msg_controllen = sizeof space;
      const ssize_t n = recvmsg(fd_, &message, MSG_CMSG_CLOEXEC);
      if (const cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr)
        passed_.push_back(*reinterpret_cast<const int*>(CMSG_DATA(head)));
      std::string one(text, n > 0 ? static_cast<std::size_t>(n) : 0);
      if (const std::size_t at = one.find("MONOTONIC_USEC="); at != std::string::npos)
        one.erase(at + 15, one.find('\n', at) - at - 15);
      said.push_back(one);
      if (one.find(last) != std::string::npos) break;
    }
    return said;
  }
  const std::vector<int>& passed() const { return passed_; }

 private:
  const std::string path_;
  const int fd_;
  std::vector<int> passed_;
};

TEST(SupervisorLife, TellsTheManagerDatagramByDatagram) {
  FakeNode node(fresh_store());
  Manager manager(node.store() + "/notify");
  node.start({.environment = {{"NOTIFY_SOCKET", node.store() + "/notify"}}});
  EXPECT_EQ(manager.until("READY=1"),
            (std::vector<std::string>{"FDSTORE=1\nFDNAME=kept-sql", "FDSTORE=1\nFDNAME=kept-http",
                                      "READY=1\nSTATUS=serving"}));
  ASSERT_EQ(manager.passed().size(), 2U);
  EXPECT_EQ(address_of(manager.passed()[0]), node.read("address"));
  node.signal(SIGUSR2);
  EXPECT_EQ(manager.until("READY=1"),
            (std::vector<std::string>{"RELOADING=1\nMONOTONIC_USEC=\nSTATUS=restarting: tries the new binary",
                                      "STATUS=restarting: the new worker starts",
                                      "STATUS=restarting: sessions and leases move to the new worker",
                                      "STATUS=restarting: the new worker opens the store",
                                      "STATUS=restarting: the new worker serves, the old one leaves",
                                      "STATUS=restarted", "READY=1\nSTATUS=serving"}));
  node.signal(SIGHUP);
  EXPECT_EQ(manager.until("READY=1"),
            (std::vector<std::string>{"RELOADING=1\nMONOTONIC_USEC=", "READY=1\nSTATUS=serving"}));
  node.signal(SIGTERM);
  EXPECT_EQ(manager.until("STOPPING=1"), (std::vector<std::string>{"STOPPING=1"}));
  EXPECT_EQ(node.wait_for_end(), 0);
}

int count_zombies(int parent) {
  int zombies = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    if (entry.path().filename().string().find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream in(entry.path() / "stat");
    std::string text((std::istreambuf_iterator<char>(in)), {});
    const std::size_t at = text.rfind(") Z ");
    if (at != std::string::npos && std::atoi(text.c_str() + at + 4) == parent) ++zombies;
  }
  return zombies;
}

TEST(SupervisorLife, WorksAsPidOneAndReapsWhatOthersLeave) {
  if (std::system("unshare -r -p -f true 2> /dev/null") != 0) GTEST_SKIP() << "no PID namespaces may be made here";
  FakeNode node(fresh_store());
  node.write("trial", "orphan");
  node.start({.prefix = {"unshare", "-r", "-p", "-f", "--kill-child", "--mount-proc"}});
  std::ifstream children("/proc/" + std::to_string(node.pid()) + "/task/" + std::to_string(node.pid()) + "/children");
  int supervisor = 0;
  children >> supervisor;
  EXPECT_EQ(node.read("pid"), "1\n");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(value_of(node.restart(), "outcome"), "completed");
  EXPECT_TRUE(eventually([&] { return count_zombies(supervisor) == 0; }));
  kill(supervisor, SIGTERM);
  EXPECT_EQ(node.wait_for_end(), 0);
}

TEST(SupervisorLife, FindsItsSocketsHoweverLongThePathIs) {
  FakeNode node(fresh_store() + "/" + std::string(120, 'x') + "/" + std::string(120, 'y'));
  node.start();
  EXPECT_EQ(value_of(node.restart(), "outcome"), "completed");
  kill_supervisor(node);
  const int worker = node.served_by();
  node.start();
  EXPECT_TRUE(
      eventually([&] { return value_of(node.ask("restart_status", ""), "worker_pid") == std::to_string(worker); }));
}

}  // namespace
}  // namespace outlast::handover
