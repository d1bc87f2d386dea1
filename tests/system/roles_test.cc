// Frontends, backends and compute nodes as processes of their own, and how each of them leaves.
#include <algorithm>
#include <atomic>
#include <boost/json.hpp>
#include <csignal>
#include <fstream>
#include <future>
#include <iterator>
#include <set>

#include "cli/http_get.h"
#include "support/cluster.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
using testing_support::Finished;
using testing_support::run_outlast;

constexpr std::size_t kAlive = 7, kTablets = 9, kBackendCode = 16;  // columns of SHOW BACKENDS
constexpr std::size_t kFrontendRole = 6;                            // of SHOW FRONTENDS

class RolesTest : public testing_support::ClusterTest {
 protected:
  using Row = std::vector<std::optional<std::string>>;

  void start(std::vector<std::string> roles, int replicas) {
    const int count = static_cast<int>(roles.size());
    use_roles(std::move(roles));
    ASSERT_NO_FATAL_FAILURE(start_nodes(count));
    ASSERT_NO_FATAL_FAILURE(wait_replicated(replicas));
    auto sql = connect(0);
    must(sql, "SET CLUSTER SETTING min_graceful_exit_time_second = 1");
    must(sql, "CREATE TABLE t (id bigint PRIMARY KEY)");
    must(sql, "INSERT INTO t SELECT * FROM generate_series(1, 100)");
  }
  std::string id(int node) { return cluster().facts(node)->node.to_string(); }
  /// The line of a listing that is about this node; its first column is the node's id.
  Row row_of(cli::PgConnection& sql, const std::string& listing, const std::string& node) {
    for (const Row& row : must(sql, "SHOW " + listing).rows)
      if (row[0] == node) return row;
    return Row(20);
  }
  std::string code_of(cli::PgConnection& sql, const std::string& node) {
    return row_of(sql, "BACKENDS", node)[kBackendCode].value_or("");
  }
  /// By `node`'s own view.
  int leader() {
    auto sql = connect(0);
    for (const Row& row : must(sql, "SHOW FRONTENDS").rows)
      for (int i = 0; i < 2; ++i)
        if (row[kFrontendRole] == "LEADER" && row[0] == id(i)) return i;
    return -1;
  }
  /// `outlast stop` beside this test, which has to notice ends of processes meanwhile.
  void stop(int node, std::vector<std::string> words) {
    words.insert(words.begin(), {"stop", "--store=" + cluster().store(node)});
    const auto started = cluster().start_command(words, log());
    ASSERT_TRUE(started.ok()) << started.error().message;
  }
  std::string log() { return dir() + "/stop.log"; }
  std::string stop_output() {
    std::ifstream in(log());
    return {std::istreambuf_iterator<char>(in), {}};
  }
  /// Its exit code.
  int stopped() {
    std::optional<int> code;
    const auto waited = cluster().wait_until("the end of `outlast stop`", 30s, [&] {
      for (int i = 0; i < cluster().size(); ++i) (void)cluster().running(i);
      return (code = cluster().command_exit()).has_value();
    });
    EXPECT_TRUE(waited.ok()) << waited.error().message << stop_output();
    return code.value_or(-1);
  }
  int health(int node) {
    const auto answer = cli::http_get(cluster().facts(node)->http_addr, "/api/health", 5s);
    return answer.ok() ? answer->status : 0;
  }
  template <class Reached>
  void until(const char* what, const Reached& reached) {
    const auto waited = cluster().wait_until(what, 20s, reached);
    EXPECT_TRUE(waited.ok()) << waited.error().message;
  }
};

TEST_F(RolesTest, EveryNodeDoesWhatItsRolesSayAndABackendShowsItsExit) {
  ASSERT_NO_FATAL_FAILURE(start({"frontend", "frontend", "backend", "backend", "backend", "compute"}, 3));
  auto sql = connect(1);
  EXPECT_EQ(must(sql, "SELECT count(*) FROM t").rows[0][0], "100");
  for (int i = 2; i < 6; ++i) EXPECT_EQ(cluster().facts(i)->sql_addr, "") << "no SQL there";
  must(sql, "CREATE DATABASE more");
  const std::set<std::string> backends{id(2), id(3), id(4)};
  const auto ranges = cluster().ranges(1);
  ASSERT_TRUE(ranges.ok());
  for (const auto& range : *ranges)
    for (const NodeId node : range.insync) EXPECT_TRUE(backends.contains(node.to_string()));
  EXPECT_EQ(must(sql, "SHOW FRONTENDS").rows.size(), 2U);
  EXPECT_EQ(must(sql, "SHOW BACKENDS").rows.size(), 3U);
  EXPECT_EQ(must(sql, "show compute nodes;").rows.size(), 1U);
  EXPECT_NE(leader(), -1);
  const auto nodes = cli::http_get(cluster().facts(3)->http_addr, "/api/v1/nodes", 5s);
  ASSERT_TRUE(nodes.ok() && nodes->status == 200);
  EXPECT_EQ(boost::json::parse(nodes->body).at("nodes").as_array().size(), 6U);

  const int leaves = leaseholder_of("defaultdb");
  const std::string node = id(leaves);
  EXPECT_EQ(code_of(sql, node), "OK");
  EXPECT_NE(row_of(sql, "BACKENDS", node)[kTablets], "0");
  auto reader = connect(0);
  must(reader, "BEGIN");
  EXPECT_EQ(must(reader, "SELECT count(*) FROM t").rows[0][0], "100");
  ASSERT_NO_FATAL_FAILURE(stop(leaves, {"-g", "--timeout", "600"}));
  until("SHUTDOWN", [&] { return code_of(sql, node) == "SHUTDOWN"; });
  EXPECT_EQ(row_of(sql, "BACKENDS", node)[kAlive], "true") << "exiting is not dead";
  must(sql, "INSERT INTO t VALUES (101)");
  EXPECT_EQ(must(reader, "SELECT count(*) FROM t").rows[0][0], "100") << "what runs there finishes";
  must(reader, "COMMIT");
  EXPECT_EQ(stopped(), 0) << stop_output();
  until("DISCONNECTED", [&] { return code_of(sql, node) == "DISCONNECTED"; });
  EXPECT_EQ(row_of(sql, "BACKENDS", node)[kAlive], "false");
  EXPECT_EQ(must(sql, "SELECT count(*) FROM t").rows[0][0], "101");
}

TEST_F(RolesTest, WhatIsLastIsNotStoppedWithoutForce) {
  ASSERT_NO_FATAL_FAILURE(start({"frontend", "backend"}, 1));
  for (const int node : {0, 1}) {
    const Finished refused = run_outlast("stop -g --store=" + cluster().store(node), 30);
    EXPECT_EQ(refused.code, 1) << refused.output;
    EXPECT_NE(refused.output.find(node == 0 ? "is the last live frontend" : "is the last live backend"),
              std::string::npos)
        << refused.output;
  }
  EXPECT_EQ(value(0, "defaultdb", "SELECT count(*) FROM t"), "100");
  ASSERT_NO_FATAL_FAILURE(stop(0, {"-g", "--force"}));
  EXPECT_EQ(stopped(), 0) << stop_output();
}

TEST_F(RolesTest, ABackendThatHangsIsKilledAndNothingIsLost) {
  ASSERT_NO_FATAL_FAILURE(start({"frontend", "backend", "backend", "backend"}, 3));
  const int hangs = leaseholder_of("defaultdb");
  const auto facts = cluster().facts(hangs);
  ASSERT_NO_FATAL_FAILURE(stop(hangs, {"-g", "--timeout", "2"}));
  ASSERT_EQ(::kill(facts->worker_pid, SIGSTOP), 0);
  EXPECT_EQ(stopped(), 0) << stop_output();
  EXPECT_NE(stop_output().find("SIGKILL"), std::string::npos) << stop_output();
  EXPECT_EQ(value(0, "defaultdb", "SELECT count(*) FROM t"), "100");
  ASSERT_TRUE(cluster().start(hangs).ok());
  ASSERT_NO_FATAL_FAILURE(wait_ready(hangs));
  ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  const Finished verified = run_outlast("range verify --host=" + cluster().facts(0)->listen_addr, 30);
  EXPECT_EQ(verified.code, 0) << verified.output;
}

TEST_F(RolesTest, TheLeaderFrontendExitsWhileMetadataIsWritten) {
  ASSERT_NO_FATAL_FAILURE(start({"frontend", "frontend", "backend"}, 1));
  const int old = leader();
  ASSERT_NE(old, -1);
  const int other = 1 - old;
  std::atomic<bool> over = false;
  std::atomic<int> made = 0;
  auto writes = std::async(std::launch::async, [&] {
    auto sql = connect(other);
    while (!over) must(sql, "CREATE DATABASE d" + std::to_string(made++));
  });
  auto idle = connect(old), busy = connect(old);
  must(busy, "BEGIN");
  must(busy, "INSERT INTO t VALUES (1000)");
  ASSERT_NO_FATAL_FAILURE(stop(old, {"-g"}));
  until("500", [&] { return health(old) == 500; });
  must(idle, "SELECT 1");  // balancers have not noticed yet
  std::optional<cli::PgFarewell> farewell;
  until("the end of the idle session", [&] { return (farewell = idle.farewell()).has_value(); });
  EXPECT_EQ(farewell->sqlstate, "57P01");
  must(busy, "COMMIT");
  EXPECT_EQ(stopped(), 0) << stop_output();
  const int before = made;
  until("more databases", [&] { return made > before + 1; });
  over = true;
  writes.get();
  auto sql = connect(other);
  EXPECT_EQ(row_of(sql, "FRONTENDS", id(other))[kFrontendRole], "LEADER");
  EXPECT_EQ(value(other, "defaultdb", "SELECT count(*) FROM t"), "101");
  std::ifstream in(cluster().store(old) + "/DRAIN.json");
  const std::string receipt{std::istreambuf_iterator<char>(in), {}};
  EXPECT_EQ(boost::json::parse(receipt).at("plan").as_string(), "frontend") << receipt;
  EXPECT_EQ(boost::json::parse(receipt).at("end").as_string(), "complete") << receipt;
}

TEST_F(RolesTest, SigUsr1TakesTheFrontendOnlyFromAProcessThatIsMore) {
  ASSERT_NO_FATAL_FAILURE(start({"frontend,backend,compute", "frontend,backend"}, 2));
  const int node = leader();
  auto idle = connect(node);
  ASSERT_EQ(::kill(cluster().facts(node)->pid, SIGUSR1), 0);
  until("the end of the idle session", [&] { return idle.farewell().has_value(); });
  EXPECT_EQ(cli::PgConnection::connect(cluster().sql_url(node), "", 5s).error().code, Errc::kNotReady);
  auto sql = connect(1 - node);
  until("another leader", [&] { return row_of(sql, "FRONTENDS", id(1 - node))[kFrontendRole] == "LEADER"; });
  EXPECT_EQ(code_of(sql, id(node)), "OK") << "as a backend it stays";
  EXPECT_TRUE(cluster().running(node));
  const Finished back =
      run_outlast("node undrain " + id(node) + " --host=" + cluster().facts(1 - node)->listen_addr, 30);
  EXPECT_EQ(back.code, 0) << back.output;
  EXPECT_EQ(value(node, "defaultdb", "SELECT count(*) FROM t"), "100");
}

TEST_F(RolesTest, ANodeWithReplicasDoesNotStartWithoutTheRoleBackend) {
  ASSERT_NO_FATAL_FAILURE(start({"frontend,backend"}, 1));
  EXPECT_EQ(cluster().terminate(0, 30s).value(), 0);
  const Finished refused =
      run_outlast("start --roles=frontend --store=" + cluster().store(0) + " --meta=" + cluster().meta() +
                      " --sql-addr=127.0.0.1:0 --http-addr=127.0.0.1:0 --listen-addr=127.0.0.1:0",
                  30);
  EXPECT_EQ(refused.code, 3) << refused.output;
  EXPECT_NE(refused.output.find("replicas and is no backend"), std::string::npos) << refused.output;
}

}  // namespace
}  // namespace outlast
