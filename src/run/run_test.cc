// `outlast run` as a process, around small servers.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "run/notify_socket.h"
#include "run/sockets.h"
#include "run/spawn.h"
#include "run/testing/running_program.h"
#include "run/testing/test_server.h"
#include "tests/support/test_dir.h"

namespace outlast::run {
namespace {
using namespace std::chrono_literals;
using testing::answer;
using testing::ask;
using testing::Hammer;
using testing::RunningProgram;
using Json = boost::json::object;

class RunTest : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return (dir_.path() / name).string(); }
  /// Stops it, and looks that nothing is left of any process that it ever started.
  static void stop(RunningProgram& program, int code = 0) {
    program.signal(SIGTERM);
    EXPECT_EQ(program.wait(), code);
    for (const Json& event : program.events())
      if (event.at("event").as_string() == "started") EXPECT_FALSE(group_exists(pid_of(event)));
  }
  static pid_t pid_of(const Json& event) { return static_cast<pid_t>(event.at("pid").as_int64()); }
  static std::string outcome(const Json& receipt) {
    return receipt.empty() ? "no receipt" : receipt.at("outcome").as_string().c_str();
  }
  static std::string why(const Json& receipt) { return receipt.empty() ? "" : receipt.at("why").as_string().c_str(); }
  /// A reload whose new process starts in this mode is rolled back, and the old process goes on.
  void expect_rollback(const std::string& mode, const std::string& reason) {
    RunOptions options = server_.options();
    if (reason.find("not ready") != std::string::npos) options.ready_timeout = 3s;
    server_.mode("serve");
    RunningProgram program({.options = options});
    const int port = program.ready_port(), before = answer(ask(port));
    ASSERT_GT(before, 0);
    server_.mode(mode);
    const Json receipt = program.reload();
    EXPECT_EQ(outcome(receipt), "rolled_back");
    EXPECT_NE(why(receipt).find(reason), std::string::npos) << why(receipt);
    EXPECT_EQ(answer(ask(port)), before);
    server_.mode("serve");
    EXPECT_EQ(outcome(program.reload()), "completed");
    EXPECT_NE(answer(ask(port)), before);
    last_ = receipt;
    stop(program);
  }

  testing_support::TestDir dir_;
  testing::TestServer server_{dir_.path().string()};
  Json last_;
};

TEST_F(RunTest, TwentyReloadsUnderLoadFailNoConnection) {
  RunningProgram program({.options = server_.options()});
  const int port = program.ready_port();
  Hammer hammer(port, 4);
  for (int i = 1; i <= 20; ++i) {
    const Json receipt = program.reload();
    ASSERT_EQ(outcome(receipt), "completed");
    EXPECT_EQ(receipt.at("id").as_int64(), i);
    EXPECT_GE(receipt.at("queued").as_int64(), 0);
    EXPECT_EQ(testing::children_of(program.pid()).size(), 1U);
  }
  hammer.stop();
  EXPECT_EQ(hammer.failures(), 0);
  EXPECT_GT(hammer.connections(), 1000);
  RecordProperty("connections", hammer.connections());
  stop(program);
}

TEST_F(RunTest, TheOldProcessServesWhileTheNewOneStartsSlowly) {
  RunningProgram program({.options = server_.options()});
  const int port = program.ready_port(), before = answer(ask(port));
  server_.mode("slow");
  program.signal(SIGHUP);
  const pid_t candidate = pid_of(program.next("started"));
  for (int i = 0; i < 50; ++i) EXPECT_EQ(answer(ask(port)), before);
  server_.release();
  EXPECT_EQ(outcome(program.next("reload")), "completed");
  EXPECT_EQ(answer(ask(port)), candidate);
  stop(program);
}

TEST_F(RunTest, RollsBackWhenTheNewProcessFails) {
  expect_rollback("fail", "exited with code 1 before it was ready");
  EXPECT_EQ(last_.at("stderr").as_array().back().as_string(), "no such setting: colour");
}

TEST_F(RunTest, RollsBackWhenTheNewProcessDies) {
  expect_rollback("die", "was killed by SIGKILL");
}

TEST_F(RunTest, RollsBackWhenTheNewProcessIsNeverReady) {
  expect_rollback("never", "it was not ready within 3s: it did not say READY=1");
}

TEST_F(RunTest, RollsBackWhenTheNewProcessHangs) {
  expect_rollback("hang", "it was not ready within 3s");
}

TEST_F(RunTest, AHundredTriggersDuringAReloadAreOneMore) {
  RunningProgram program({.options = server_.options()});
  program.ready_port();
  server_.mode("slow");
  program.signal(SIGUSR2);
  ASSERT_FALSE(program.next("started").empty());
  for (int i = 0; i < 100; ++i) program.signal(SIGUSR2);
  server_.release();
  EXPECT_EQ(outcome(program.next("reload")), "completed");
  EXPECT_EQ(outcome(program.next("reload")), "completed");
  stop(program);
  EXPECT_EQ(program.count("reload"), 2U);
  EXPECT_EQ(program.count("started"), 3U);
}

TEST_F(RunTest, AStopDuringAReloadLeavesNothing) {
  RunningProgram program({.options = server_.options()});
  program.ready_port();
  server_.mode("never");
  program.signal(SIGUSR2);
  ASSERT_FALSE(program.next("started").empty());
  stop(program);
  EXPECT_EQ(program.count("reload"), 1U);
}

TEST_F(RunTest, AConnectionThatAKilledServerNeverAcceptedIsServedByTheNext) {
  RunningProgram program({.options = server_.options()});
  const int port = program.ready_port(), before = answer(ask(port));
  kill(before, SIGSTOP);
  const int waiting = ask(port);
  kill(before, SIGKILL);
  const int after = answer(waiting);
  EXPECT_GT(after, 0);
  EXPECT_NE(after, before);
  EXPECT_FALSE(program.next("ended").empty());
  stop(program);
}

TEST_F(RunTest, KillsAnOldProcessThatOutstaysItsGrace) {
  RunOptions options = server_.options();
  options.grace = 200ms;
  server_.mode("stubborn");
  RunningProgram program({.options = options});
  program.ready_port();
  server_.mode("serve");
  const Json receipt = program.reload();
  EXPECT_EQ(outcome(receipt), "completed");
  EXPECT_TRUE(receipt.at("killed").as_bool());
  stop(program);
}

TEST_F(RunTest, TakesTheProcessesThatAServerLeavesBehind) {
  RunOptions options = server_.options();
  options.grace = 200ms;
  server_.mode("workers");
  RunningProgram program({.options = options});
  program.ready_port();
  const pid_t old = testing::children_of(program.pid()).at(0);
  server_.mode("serve");
  const Json receipt = program.reload();
  EXPECT_TRUE(receipt.at("killed").as_bool());
  EXPECT_FALSE(group_exists(old));
  EXPECT_EQ(testing::children_of(program.pid()).size(), 1U);
  stop(program);
}

/// Waits for the end of a process that is not our child.
bool ends(pid_t pid) {
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return errno == ESRCH;
  pollfd p{fd, POLLIN, 0};
  const bool ended = poll(&p, 1, 20'000) == 1;
  close(fd);
  return ended;
}

TEST_F(RunTest, AServerDoesNotOutliveItsKilledSupervisor) {
  RunningProgram program({.options = server_.options()});
  program.ready_port();
  const pid_t server = testing::children_of(program.pid()).at(0);
  program.signal(SIGKILL);
  EXPECT_TRUE(ends(server));
}

TEST_F(RunTest, EndsAProcessThatLeftItsGroup) {
  RunOptions options;
  options.command = {"sh", "-c", "setsid sleep 1000 & echo $! > '" + path("daemon") + "'; exec sleep 1000"};
  options.ready_after = 200ms;
  RunningProgram program({.options = options});
  ASSERT_FALSE(program.next("ready").empty());
  pid_t daemon = 0;
  std::ifstream(path("daemon")) >> daemon;
  ASSERT_GT(daemon, 0);
  EXPECT_EQ(kill(daemon, 0), 0);
  stop(program);
  EXPECT_TRUE(ends(daemon));
}

TEST_F(RunTest, ASecondInterruptKills) {
  server_.mode("stubborn");
  RunningProgram program({.options = server_.options()});
  program.ready_port();
  program.signal(SIGINT);
  ASSERT_FALSE(program.next("stopping").empty());
  program.signal(SIGINT);
  EXPECT_EQ(program.wait(), 137);
}

TEST_F(RunTest, ARefusedCheckStartsNothing) {
  RunOptions options = server_.options();
  options.check = "echo 'unknown directive' >&2; exit 1";
  RunningProgram program({.options = options});
  program.ready_port();
  const Json receipt = program.reload();
  EXPECT_EQ(outcome(receipt), "refused");
  EXPECT_EQ(why(receipt), "the check exited with code 1");
  EXPECT_EQ(receipt.at("stderr").as_array().at(0).as_string(), "unknown directive");
  stop(program);
  EXPECT_EQ(program.count("started"), 1U);
}

TEST_F(RunTest, AProbeFindsTheNewProcessBesideTheOldOne) {
  for (const std::string scheme : {"tcp", "http"}) {
    const Listener listener = open_listener("tcp://127.0.0.1:0").value();
    RunOptions options;
    options.ready = scheme + listener.url.substr(listener.url.find("://"));
    options.command = {"/usr/bin/python3", "-ISc",
                       "import http.server, socket\n"
                       "s = http.server.ThreadingHTTPServer(('', 0), http.server.SimpleHTTPRequestHandler, False)\n"
                       "s.socket = socket.socket(fileno=3)\n"
                       "s.socket.setblocking(False)\n"
                       "s.serve_forever()\n"};
    RunningProgram program({.options = options, .socket = listener.fd});
    close(listener.fd);
    ASSERT_FALSE(program.next("ready").empty()) << scheme;
    EXPECT_EQ(outcome(program.reload()), "completed") << scheme;
    stop(program);
  }
}

TEST_F(RunTest, TheDescriptorTableStaysAsItIs) {
  RunOptions options;
  options.command = {"sleep", "1000"};
  options.listen = {"tcp://127.0.0.1:0", "udp://127.0.0.1:0", "unix://" + path("s")};
  options.ready = "none";
  RunningProgram program({.options = options});
  ASSERT_FALSE(program.next("ready").empty());
  program.reload();
  const int before = testing::open_descriptors(program.pid());
  for (int i = 0; i < 100; ++i) ASSERT_EQ(outcome(program.reload()), "completed");
  EXPECT_EQ(testing::open_descriptors(program.pid()), before);
  const pid_t child = testing::children_of(program.pid()).at(0);
  EXPECT_TRUE(testing::settles_at(child, 6)) << testing::open_descriptors(child);  // 0, 1, 2 and the sockets
  stop(program);
  EXPECT_NE(access(path("s").c_str(), F_OK), 0);
}

TEST_F(RunTest, TellsTheServerItsSocketsAndFillsInTheEnvironment) {
  RunOptions options;
  options.command = {"sh", "-c",
                     "echo $$ $LISTEN_PID $LISTEN_FDS $LISTEN_FDNAMES $OWN > '" + path("said") + "'; exit 7"};
  options.listen = {"web=tcp://127.0.0.1:0", "log=udp://[::1]:0"};
  options.environment = {"OWN={fd:log}/{fds;}"};
  options.restart = "never";
  RunningProgram program({.options = options});
  EXPECT_EQ(program.wait(), 7);
  std::ifstream said(path("said"));
  std::string shell, listen_pid, rest;
  said >> shell >> listen_pid;
  std::getline(said, rest);
  EXPECT_EQ(shell, listen_pid);
  EXPECT_EQ(rest, " 2 web:log 4/3;4;");
}

TEST_F(RunTest, EndsWithTheShellsCodeWhenThereIsNoSuchProgram) {
  RunOptions options;
  options.command = {"/nonexistent/server"};
  RunningProgram program({.options = options});
  EXPECT_EQ(program.wait(), 127);
}

TEST_F(RunTest, SaysEachThingToItsManagerOnce) {
  NotifySocket manager = NotifySocket::open().value();
  RunningProgram program({.options = server_.options(), .environment = {{"NOTIFY_SOCKET", manager.name()}}});
  program.ready_port();
  ASSERT_EQ(outcome(program.reload()), "completed");
  stop(program);
  std::string said;
  char text[512];
  for (ssize_t n = 0; (n = recv(manager.fd(), text, sizeof text, 0)) > 0;) {
    const std::string one(text, static_cast<std::size_t>(n));
    EXPECT_EQ(one.find("MAINPID"), std::string::npos);
    if (one.starts_with("RELOADING=1")) EXPECT_NE(one.find("MONOTONIC_USEC="), std::string::npos);
    if (!one.starts_with("STATUS=serving")) said += one.substr(0, one.find('\n')) + " ";
  }
  EXPECT_EQ(said, "STATUS=starting READY=1 RELOADING=1 READY=1 STOPPING=1 ");
}

TEST_F(RunTest, WorksAsPid1) {
  const pid_t tried = fork();
  if (tried == 0) _exit(unshare(CLONE_NEWPID) == 0 ? 0 : 1);
  int status = 0;
  waitpid(tried, &status, 0);
  if (status != 0) GTEST_SKIP() << "PID namespaces are not permitted here";
  RunOptions options = server_.options();
  // The first shell leaves an orphan behind before it becomes the server.
  options.command = {
      "sh", "-c", "(sleep 0 &) & exec /usr/bin/python3 -IS '" + path("server.py") + "' '" + dir_.path().string() + "'"};
  RunningProgram program({.options = options, .as_pid_1 = true});
  const int port = program.ready_port();
  EXPECT_GT(answer(ask(port)), 1);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(outcome(program.reload()), "completed");
  const pid_t init = testing::children_of(program.pid()).at(0);
  EXPECT_EQ(testing::children_of(init).size(), 1U);  // no zombie of the orphans
  program.signal(SIGTERM);
  EXPECT_EQ(program.wait(), 0);
}

TEST_F(RunTest, APidFileLeadsToItsHolderAndGoesWithIt) {
  RunOptions options = server_.options();
  options.pid_file = path("pid");
  RunningProgram program({.options = options});
  program.ready_port();
  EXPECT_TRUE(ask_to_reload(options.pid_file).ok());
  EXPECT_EQ(outcome(program.next("reload")), "completed");
  RunningProgram second({.options = options});
  EXPECT_EQ(second.wait(), 1);
  stop(program);
  std::ofstream(options.pid_file) << getpid();
  EXPECT_EQ(ask_to_reload(options.pid_file).error().code, Errc::kNotFound);
}

}  // namespace
}  // namespace outlast::run
