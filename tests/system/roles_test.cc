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
#include "support/roles_cluster.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
using testing_support::Finished;
using testing_support::run_outlast;

class RolesTest : public testing_support::RolesClusterTest {};

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
  EXPECT_NE(cell(sql, "BACKENDS", node, "TabletNum"), "0");
  auto reader = connect(0);
  must(reader, "BEGIN");
  EXPECT_EQ(must(reader, "SELECT count(*) FROM t").rows[0][0], "100");
  ASSERT_NO_FATAL_FAILURE(stop(leaves, {"-g", "--timeout", "600"}));
  until("SHUTDOWN", [&] { return code_of(sql, node) == "SHUTDOWN"; });
  EXPECT_EQ(cell(sql, "BACKENDS", node, "Alive"), "true") << "exiting is not dead";
  must(sql, "INSERT INTO t VALUES (101)");
  EXPECT_EQ(must(reader, "SELECT count(*) FROM t").rows[0][0], "100") << "what runs there finishes";
  must(reader, "COMMIT");
  EXPECT_EQ(stopped(), 0) << stop_output();
  until("DISCONNECTED", [&] { return code_of(sql, node) == "DISCONNECTED"; });
  EXPECT_EQ(cell(sql, "BACKENDS", node, "Alive"), "false");
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
  const auto table = [](int i) { return "p" + std::to_string(i); };
  auto writes = std::async(std::launch::async, [&] {
    auto sql = connect(other);
    for (; !over; ++made) {
      must(sql, "CREATE DATABASE d" + std::to_string(made));
      must(sql, "CREATE TABLE " + table(made) + " (k bigint PRIMARY KEY) PARTITION BY HASH (k) PARTITIONS 2");
    }
  });
  int through_it = 0;  // databases whose creation the leaving leader acknowledged
  auto until_cut = std::async(std::launch::async, [&] {
    auto sql = connect(old);
    while (sql.run("CREATE DATABASE l" + std::to_string(through_it), 30s).ok) ++through_it;
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
  until_cut.get();
  EXPECT_GT(through_it, 0);
  auto sql = connect(other);
  for (int i = 0; i < made; ++i) {
    EXPECT_EQ(value(other, "d" + std::to_string(i), "SELECT 1"), "1");
    EXPECT_EQ(must(sql, "SHOW PARTITIONS FROM " + table(i)).rows.size(), 2U);
    must(sql, "INSERT INTO " + table(i) + " VALUES (1), (2), (3), (4)");
  }
  for (int i = 0; i < through_it; ++i) EXPECT_EQ(value(other, "l" + std::to_string(i), "SELECT 1"), "1");
  auto unanswered = cli::PgConnection::connect(cluster().sql_url(other), "l" + std::to_string(through_it), 10s);
  if (unanswered.ok()) must(*unanswered, "CREATE TABLE whole (id int)");
  EXPECT_EQ(cell(sql, "FRONTENDS", id(other), "Role"), "LEADER");
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
  until("another leader", [&] { return cell(sql, "FRONTENDS", id(1 - node), "Role") == "LEADER"; });
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
