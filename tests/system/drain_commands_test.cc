// The commands around a drain, as an operator runs them: node drain, node undrain, gen haproxy, and the rolling restart
// of the demo.
#include <algorithm>
#include <atomic>
#include <boost/json.hpp>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

#include "cli/haproxy_process.h"
#include "cli/http_get.h"
#include "support/cluster.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
using testing_support::Finished;
using testing_support::run_outlast;

class DrainCommandsTest : public testing_support::ClusterTest {
 protected:
  void start_three() {
    ASSERT_NO_FATAL_FAILURE(start_nodes(3));
    ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  }
  std::string id(int node) { return cluster().facts(node)->node.to_string(); }
  std::string host(int node) { return " --host=" + cluster().facts(node)->listen_addr; }
  int health(int node, const char* path) {
    const auto answer = cli::http_get(cluster().facts(node)->http_addr, path, 5s);
    return answer.ok() ? answer->status : 0;
  }
};

TEST_F(DrainCommandsTest, DrainAndUndrainThroughAnotherNode) {
  ASSERT_NO_FATAL_FAILURE(start_three());
  auto kept = connect(1);
  const Finished drained = run_outlast("node drain " + id(1) + host(0), 60);
  ASSERT_EQ(drained.code, 0) << drained.output;
  EXPECT_NE(drained.output.find("node is draining... remaining: 0 (complete)\nok\n"), std::string::npos)
      << drained.output;
  EXPECT_EQ(health(1, "/health?ready=1"), 503);
  EXPECT_EQ(health(1, "/health"), 200) << "it lives";
  EXPECT_EQ(health(1, "/api/health"), 500);
  EXPECT_EQ(health(0, "/health?ready=1"), 200);
  const auto farewell = kept.farewell();
  ASSERT_TRUE(farewell) << "an idle session is told to go";
  EXPECT_EQ(farewell->sqlstate, "57P01");
  EXPECT_EQ(cli::PgConnection::connect(cluster().sql_url(1), "", 5s).error().code, Errc::kNotReady);
  EXPECT_EQ(value(0, "defaultdb", "SELECT 1"), "1");

  const Finished undrained = run_outlast("node undrain " + id(1) + host(2), 60);
  ASSERT_EQ(undrained.code, 0) << undrained.output;
  EXPECT_EQ(undrained.output, "ok\n");
  EXPECT_EQ(health(1, "/health?ready=1"), 200);
  EXPECT_EQ(value(1, "defaultdb", "SELECT 1"), "1");
}

TEST_F(DrainCommandsTest, ADryRunChangesNothingAndJsonEndsWithTheReceipt) {
  ASSERT_NO_FATAL_FAILURE(start_three());
  const Finished dry = run_outlast("node drain --self --dry-run" + host(1), 60);
  EXPECT_EQ(dry.code, 0) << dry.output;
  EXPECT_NE(dry.output.find("nothing was changed"), std::string::npos) << dry.output;
  EXPECT_EQ(health(1, "/health?ready=1"), 200);
  const Finished drained = run_outlast("node drain --self --format=json" + host(1), 60);
  ASSERT_EQ(drained.code, 0) << drained.output;
  std::istringstream lines(drained.output);
  std::string last;
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("{")) last = line;
  ASSERT_FALSE(last.empty()) << drained.output;
  EXPECT_EQ(boost::json::parse(last).as_object().at("end"), "complete");
}

TEST_F(DrainCommandsTest, ARehearsalMovesLeasesAndTakesNothingFromClients) {
  ASSERT_NO_FATAL_FAILURE(start_three());
  auto sql = connect(1);
  for (const char* name : {"a", "b", "c", "d"}) must(sql, std::string("CREATE DATABASE ") + name);
  ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  const int node = leaseholder_of("a");
  auto own = connect(node, "a");
  must(own, "CREATE TABLE t (id bigint)");
  std::atomic<bool> over = false;
  std::thread load([&] {
    for (int i = 0; !over; ++i) must(own, "INSERT INTO t VALUES (" + std::to_string(i) + ")");
  });
  const Finished rehearsed = run_outlast("node drain --self --rehearse=2s --format=json" + host(node), 60);
  const int ready = health(node, "/health?ready=1");
  over = true;
  load.join();
  ASSERT_EQ(rehearsed.code, 0) << rehearsed.output;
  EXPECT_EQ(ready, 200);
  const auto json = boost::json::parse(rehearsed.output.substr(rehearsed.output.find('{'))).as_object();
  EXPECT_GT(json.at("receipt").at("leases_moved").to_number<int>(), 0);
  EXPECT_EQ(json.at("during").at("errors").to_number<double>(), 0);
  EXPECT_GT(json.at("during").at("statements").to_number<double>(), 0);
  must(own, "SELECT 1");  // nobody was told to go
  EXPECT_TRUE(cluster()
                  .wait_until("the lease to be back", 30s,
                              [&] {
                                const auto ranges = cluster().ranges(node);
                                return ranges.ok() && std::ranges::any_of(*ranges, [&](const auto& range) {
                                         return range.leaseholder == cluster().facts(node)->node;
                                       });
                              })
                  .ok());
}

TEST_F(DrainCommandsTest, ATimeoutLeavesTheNodeDraining) {
  ASSERT_NO_FATAL_FAILURE(start_three());
  auto sql = connect(2);
  must(sql, "SET CLUSTER SETTING server.shutdown.query_wait = '500ms'");
  must(sql, "SET CLUSTER SETTING server.shutdown.lease_transfer_wait = '500ms'");
  cluster().kill_node(0);
  cluster().kill_node(1);  // nobody is left who could take a lease
  const std::string words = "node drain --self --drain-wait=1s" + host(2);
  for (int run = 0; run < 2; ++run) {
    const Finished drained = run_outlast(words, 60);
    EXPECT_EQ(drained.code, 1) << drained.output;
    EXPECT_NE(drained.output.find("\nERROR: drain timeout\n"), std::string::npos) << drained.output;
    EXPECT_EQ(drained.output.find("\nok\n"), std::string::npos) << drained.output;
    EXPECT_EQ(health(2, "/health?ready=1"), 503);
  }
}

TEST_F(DrainCommandsTest, ShutdownEndsTheProcessWithoutASignal) {
  ASSERT_NO_FATAL_FAILURE(start_three());
  const Finished drained = run_outlast("node drain --self --shutdown" + host(2), 60);
  ASSERT_EQ(drained.code, 0) << drained.output;
  EXPECT_NE(drained.output.find("\nshutdown ok\n"), std::string::npos) << drained.output;
  const auto ended = cluster().wait_exit(2, 10s);
  ASSERT_TRUE(ended.ok()) << ended.error().message;
  EXPECT_EQ(*ended, 0);
}

TEST_F(DrainCommandsTest, ANodeThatIsNotThereAndWordsWithoutSense) {
  ASSERT_NO_FATAL_FAILURE(start_three());
  const Finished unknown = run_outlast("node drain 77" + host(0), 30);
  EXPECT_EQ(unknown.code, 1);
  EXPECT_NE(unknown.output.find("there is no node 77, only 1,2,3"), std::string::npos) << unknown.output;
  EXPECT_EQ(run_outlast("node drain" + host(0), 30).code, 2);
  EXPECT_EQ(run_outlast("node drain 1 --self" + host(0), 30).code, 2);
  EXPECT_EQ(run_outlast("node drain x" + host(0), 30).code, 2);
}

TEST_F(DrainCommandsTest, HaproxyTakesTheGeneratedConfiguration) {
  ASSERT_FALSE(cli::find_haproxy().empty()) << "apt-get install haproxy";
  ASSERT_NO_FATAL_FAILURE(start_three());
  const std::string file = dir() + "/haproxy.cfg";
  const Finished made = run_outlast("gen haproxy --listen=127.0.0.1:26257 --inter=500ms --out=" + file + host(0), 30);
  ASSERT_EQ(made.code, 0) << made.output;
  EXPECT_EQ(std::system((cli::find_haproxy() + " -c -f " + file).c_str()), 0);
}

TEST_F(DrainCommandsTest, ARollingRestartBehindHaproxyHurtsNobody) {
  const std::string report = dir() + "/report.json";
  const Finished demo = run_outlast("demo --scenario=drain --rounds=1 --duration=24s --seed=1 --report=" + report, 240,
                                    "TMPDIR=" + dir());
  ASSERT_EQ(demo.code, 0) << demo.output;
  std::ifstream file(report);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto json = boost::json::parse(text).as_object();
  EXPECT_TRUE(json.at("pass").as_bool());
  EXPECT_EQ(json.at("receipts").as_array().size(), 3U);
  EXPECT_EQ(json.at("statements").at("failed").to_number<int>(), 0);
  EXPECT_EQ(json.at("rows").at("missing").to_number<int>(), 0);
}

}  // namespace
}  // namespace outlast
