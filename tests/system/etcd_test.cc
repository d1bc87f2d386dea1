// Clusters whose metadata lies in a real etcd.
#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "cli/demo/proof.h"
#include "etcd/local_etcd.h"
#include "support/cluster.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
using testing_support::run_outlast;

class EtcdTest : public testing_support::ClusterTest {
 protected:
  void SetUp() override {
    if (const auto program = etcd::LocalEtcd::find_program(); !program.ok()) GTEST_SKIP() << program.error().message;
  }
  boost::json::object report() const {
    std::ifstream file(dir() + "/report.json");
    const std::string text((std::istreambuf_iterator<char>(file)), {});
    return text.empty() ? boost::json::object{} : boost::json::parse(text).as_object();
  }
};

TEST_F(EtcdTest, TheDemoPassesOnEtcdAndLeavesNothingBehind) {
  const auto demo =
      run_outlast("demo --meta=etcd --duration=5s --seed=1 --report=" + dir() + "/report.json", 240, "TMPDIR=" + dir());
  ASSERT_EQ(demo.code, 0) << demo.output;
  EXPECT_TRUE(report().at("pass").as_bool());
  for (const auto& entry : std::filesystem::directory_iterator(dir()))
    EXPECT_EQ(entry.path().filename().string().find("outlast-demo-"), std::string::npos) << entry.path();
}

TEST_F(EtcdTest, ACrashRunPassesOnEtcd) {
  const auto demo = run_outlast(
      "demo --meta=etcd --scenario=crash --duration=16s --crash-every=4s --seed=1 --report=" + dir() + "/report.json",
      300, "TMPDIR=" + dir());
  ASSERT_EQ(demo.code, 0) << demo.output;
  const auto json = report();
  EXPECT_TRUE(json.at("pass").as_bool());
  EXPECT_GE(json.at("events").as_array().size(), 2U);
}

TEST_F(EtcdTest, ANodeThatIsKilledAndAMemberOfEtcdWithItChangeNothingThatWasAcknowledged) {
  etcd::LocalEtcd etcd({.dir = dir()});
  const auto started = etcd.start(60s);
  ASSERT_TRUE(started.ok()) << started.error().message;
  use_meta("etcd://" + etcd.endpoints() + "/one");
  ASSERT_NO_FATAL_FAILURE(start_nodes(3));
  auto main = connect(0);
  must(main, "CREATE DATABASE app");
  auto app = connect(0, "app");
  must(app, "CREATE TABLE t (id bigint PRIMARY KEY)");
  for (int i = 0; i < 20; ++i) must(app, "INSERT INTO t VALUES (" + std::to_string(i) + ")");
  ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  const int leader = etcd.leader();
  ASSERT_GE(leader, 0);
  etcd.kill(leader);
  const int holder = leaseholder_of("app");
  ASSERT_GE(holder, 0);
  cluster().kill_node(holder);  // found silent by the others, through what is left of etcd
  const int other = (holder + 1) % 3;
  EXPECT_EQ(value(other, "app", "SELECT count(*) FROM t"), "20");
  eventually(other, "app", "INSERT INTO t VALUES (100) ON CONFLICT DO NOTHING");
  ASSERT_TRUE(etcd.restart(leader).ok());
  ASSERT_TRUE(cluster().start(holder).ok());
  ASSERT_NO_FATAL_FAILURE(wait_ready(holder));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(value(i, "app", "SELECT count(*) FROM t"), "21");
  ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  auto later = connect(other);
  must(later, "CREATE DATABASE later");  // what needs metadata works on it again
}

TEST_F(EtcdTest, TwoClustersShareOneEtcd) {
  etcd::LocalEtcd etcd({.dir = dir(), .members = 1});
  const auto started = etcd.start(60s);
  ASSERT_TRUE(started.ok()) << started.error().message;
  const std::string url = "etcd://" + etcd.endpoints();
  EXPECT_EQ(run_outlast("init --meta=" + url + "/one", 60).code, 0);
  EXPECT_EQ(run_outlast("init --meta=" + url + "/two", 60).code, 0);
  const auto again = run_outlast("init --meta=" + url + "/one", 60);
  EXPECT_EQ(again.code, 1) << again.output;
}

TEST_F(EtcdTest, ANodeThatCannotHaveItsMetadataSaysWhy) {
  const auto unknown = run_outlast("init --meta=etcd://127.0.0.1", 30);
  EXPECT_EQ(unknown.code, 2);
  EXPECT_NE(unknown.output.find("HOST:PORT"), std::string::npos) << unknown.output;
  const auto silent = run_outlast("init --meta=etcd://127.0.0.1:1", 60);
  EXPECT_EQ(silent.code, 1);
  EXPECT_NE(silent.output.find("127.0.0.1:1"), std::string::npos) << silent.output;
}

}  // namespace
}  // namespace outlast
