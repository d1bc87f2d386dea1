// The demo itself: its verdict, and what it leaves behind.
#include <sys/wait.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "cli/haproxy_process.h"
#include "support/cluster.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
namespace fs = std::filesystem;
using testing_support::run_outlast;

class DemoTest : public testing_support::ClusterTest {
 protected:
  boost::json::object report() const {
    std::ifstream file(dir() + "/report.json");
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    return text.empty() ? boost::json::object{} : boost::json::parse(text).as_object();
  }
  /// Processes whose command line names our folder.
  int processes_left() const {
    int count = 0;
    std::error_code ec;
    for (const auto& entry : fs::directory_iterator("/proc", ec)) {
      std::ifstream file(entry.path() / "cmdline", std::ios::binary);
      const std::string words((std::istreambuf_iterator<char>(file)), {});
      count += words.find(OUTLAST_BINARY) != std::string::npos && words.find(dir()) != std::string::npos;
    }
    return count;
  }
  void expect_nothing_left() {
    EXPECT_EQ(processes_left(), 0);
    for (const auto& entry : fs::directory_iterator(dir()))
      EXPECT_EQ(entry.path().filename().string().find("outlast-demo-"), std::string::npos) << entry.path();
  }
};

TEST_F(DemoTest, ASteadyRunPassesAndLeavesNothingBehind) {
  const auto demo =
      run_outlast("demo --duration=5s --seed=1 --report=" + dir() + "/report.json", 180, "TMPDIR=" + dir());
  ASSERT_EQ(demo.code, 0) << demo.output;
  const auto json = report();
  EXPECT_TRUE(json.at("pass").as_bool());
  EXPECT_EQ(json.at("statements").at("failed").to_number<int>(), 0);
  EXPECT_GT(json.at("rows").at("acked").to_number<int>(), 0);
  EXPECT_EQ(json.at("rows").at("missing").to_number<int>(), 0);
  EXPECT_EQ(json.at("rows").at("duplicated").to_number<int>(), 0);
  expect_nothing_left();
}

TEST_F(DemoTest, ACrashRunPasses) {
  const auto demo =
      run_outlast("demo --scenario=crash --duration=16s --crash-every=4s --seed=1 --report=" + dir() + "/report.json",
                  240, "TMPDIR=" + dir());
  ASSERT_EQ(demo.code, 0) << demo.output;
  const auto json = report();
  EXPECT_TRUE(json.at("pass").as_bool());
  EXPECT_GE(json.at("events").as_array().size(), 2U);
  EXPECT_EQ(json.at("rows").at("missing").to_number<int>(), 0);
  expect_nothing_left();
}

TEST_F(DemoTest, ARestartRunKeepsEveryRecord) {
  const auto demo =
      run_outlast("demo --scenario=restart --duration=10s --rate=600 --seed=1 --report=" + dir() + "/report.json", 240,
                  "TMPDIR=" + dir());
  ASSERT_EQ(demo.code, 0) << demo.output;
  const auto json = report();
  EXPECT_GT(json.at("records").at("sent").to_number<int>(), 4500);
  EXPECT_EQ(json.at("records").at("lost").to_number<int>(), 0);
  EXPECT_EQ(json.at("records").at("duplicated").to_number<int>(), 0);
  EXPECT_EQ(json.at("order_breaks").to_number<int>(), 0);
  expect_nothing_left();
}

TEST_F(DemoTest, AnIngestRunPasses) {
  const auto demo =
      run_outlast("demo --scenario=ingest --duration=10s --rate=600 --seed=1 --report=" + dir() + "/report.json", 240,
                  "TMPDIR=" + dir());
  ASSERT_EQ(demo.code, 0) << demo.output;
  const auto json = report();
  EXPECT_TRUE(json.at("pass").as_bool());
  EXPECT_GE(json.at("restarts").to_number<int>(), 1);
  EXPECT_EQ(json.at("records").at("files").at("lost").to_number<int>(), 0);
  EXPECT_GT(json.at("after_kill").at("sent").to_number<int>(), 0);
  EXPECT_EQ(json.at("after_kill").at("by_kind").at("http").at("lost").to_number<int>(), 0);
  expect_nothing_left();
}

TEST_F(DemoTest, ADecommissionRunPasses) {
  if (cli::find_haproxy().empty()) GTEST_SKIP() << "it needs HAProxy: apt-get install haproxy";
  const auto demo = run_outlast(
      "demo --scenario=decommission --duration=20s --bulk=16MiB --seed=1 --report=" + dir() + "/report.json", 400,
      "TMPDIR=" + dir());
  ASSERT_EQ(demo.code, 0) << demo.output;
  const auto json = report();
  EXPECT_TRUE(json.at("pass").as_bool());
  EXPECT_EQ(json.at("statements").at("failed").to_number<int>(), 0);
  EXPECT_EQ(json.at("under_replicated_after").to_number<int>(), 0);
  EXPECT_EQ(json.at("nodes_after").to_number<int>(), 3);
  EXPECT_EQ(json.at("decommission").at("doors").as_array().size(), 2U);
  EXPECT_TRUE(json.at("efficiency").is_number());
  expect_nothing_left();
}

TEST_F(DemoTest, ARollingRestartRunPasses) {
  if (cli::find_haproxy().empty()) GTEST_SKIP() << "it needs HAProxy: apt-get install haproxy";
  const auto demo = run_outlast(
      "demo --scenario=rolling-restart --nodes=3 --duration=40s --seed=1 --report=" + dir() + "/report.json", 400,
      "TMPDIR=" + dir());
  ASSERT_EQ(demo.code, 0) << demo.output;
  const auto json = report();
  EXPECT_TRUE(json.at("pass").as_bool());
  EXPECT_GE(json.at("rounds").as_array().size(), 2U);
  EXPECT_EQ(json.at("rows").at("missing").to_number<int>(), 0);
  expect_nothing_left();
}

/// What must hold however slow the machine is; whether a run passes depends on what its queries and clients leave of
/// two processors to each other.
TEST_F(DemoTest, InARolesRunEveryNodeLeavesAndNothingIsLost) {
  const auto demo =
      run_outlast("demo --scenario=roles --duration=1s --clients=4 --seed=1 --report=" + dir() + "/report.json", 400,
                  "TMPDIR=" + dir());
  const auto json = report();
  EXPECT_EQ(json.at("exits").as_array().size(), 6U) << demo.output;
  EXPECT_GT(json.at("labels").at("sent").to_number<int>(), 0);
  EXPECT_EQ(json.at("labels").at("lost").to_number<int>(), 0);
  EXPECT_EQ(json.at("labels").at("doubled").to_number<int>(), 0);
  EXPECT_EQ(json.at("rows").at("missing").to_number<int>(), 0);
  EXPECT_EQ(json.at("rows").at("duplicated").to_number<int>(), 0);
  expect_nothing_left();
}

TEST_F(DemoTest, CtrlCLeavesNothingBehind) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::setenv("TMPDIR", dir().c_str(), 1);
    ::freopen("/dev/null", "w", stdout);
    ::execl(OUTLAST_BINARY, OUTLAST_BINARY, "demo", "--duration=10m", nullptr);
    ::_exit(127);
  }
  const auto running = cluster().wait_until("nodes of the demo", 60s, [&] { return processes_left() >= 4; });
  ::kill(pid, SIGINT);
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(running.ok());
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
  expect_nothing_left();
}

}  // namespace
}  // namespace outlast
