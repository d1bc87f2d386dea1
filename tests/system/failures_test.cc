// Processes killed under a cluster that holds data.
#include <filesystem>

#include "cli/demo/proof.h"
#include "support/cluster.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;

class FailuresTest : public testing_support::ClusterTest {
 protected:
  /// A database "app" with a table t that holds `rows` acknowledged rows, three copies of it.
  void start_with_data(int rows) {
    ASSERT_NO_FATAL_FAILURE(start_nodes(3));
    auto main = connect(0);
    must(main, "CREATE DATABASE app");
    auto app = connect(0, "app");
    must(app, "CREATE TABLE t (id bigint PRIMARY KEY, payload text NOT NULL)");
    for (int i = 1; i <= rows; ++i)
      must(app, "INSERT INTO t VALUES (" + std::to_string(i) + ", 'row " + std::to_string(i) + "')");
    ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  }
};

TEST_F(FailuresTest, DataIsIntactAfterAllNodesWereKilledAtOnce) {
  ASSERT_NO_FATAL_FAILURE(start_with_data(50));
  for (int i = 0; i < 3; ++i) cluster().kill_node(i);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(cluster().start(i).ok());
  for (int i = 0; i < 3; ++i) ASSERT_NO_FATAL_FAILURE(wait_ready(i));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(value(i, "app", "SELECT count(*) FROM t"), "50");
  ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  const auto compared = cli::compare_replicas(cluster(), 30s);
  ASSERT_TRUE(compared.ok()) << compared.error().message;
  EXPECT_GE(compared->ranges, 1U);
  EXPECT_EQ(compared->different, 0U);
  EXPECT_EQ(compared->not_compared, 0U);
}

TEST_F(FailuresTest, StatementsGoOnWhenTheLeaseholdersWorkerIsKilled) {
  ASSERT_NO_FATAL_FAILURE(start_with_data(10));
  const int holder = leaseholder_of("app");
  ASSERT_GE(holder, 0);
  const int other = (holder + 1) % 3;
  auto session = connect(other, "app");
  must(session, "SELECT count(*) FROM t");
  const auto killed = cluster().kill_worker(holder);
  ASSERT_TRUE(killed.ok());
  // An open session at another gateway lives on: a read is repeated unseen.
  const auto read = must(session, "SELECT count(*) FROM t");
  ASSERT_FALSE(read.rows.empty());
  EXPECT_EQ(read.rows[0][0], "10");
  must(session, "INSERT INTO t VALUES (11, 'after')");
  ASSERT_NO_FATAL_FAILURE(wait_ready(holder, *killed));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(value(i, "app", "SELECT count(*) FROM t"), "11");
  ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
}

TEST_F(FailuresTest, AnOpenTransactionOfAKilledLeaseholderEndsWith40001AndLeavesNothing) {
  ASSERT_NO_FATAL_FAILURE(start_with_data(1));
  const int holder = leaseholder_of("app");
  ASSERT_GE(holder, 0);
  auto session = connect((holder + 1) % 3, "app");
  must(session, "BEGIN");
  must(session, "INSERT INTO t VALUES (2, 'never committed')");
  ASSERT_TRUE(cluster().kill_worker(holder).ok());
  auto reply = session.run("INSERT INTO t VALUES (3, 'never committed')", 30s);
  if (reply.ok) reply = session.run("COMMIT", 30s);
  EXPECT_FALSE(reply.ok);
  EXPECT_EQ(reply.sqlstate, "40001") << reply.message;
  EXPECT_EQ(value((holder + 1) % 3, "app", "SELECT count(*) FROM t"), "1");
}

TEST_F(FailuresTest, TheClusterServesWithoutOneNodeAndTakesItBack) {
  ASSERT_NO_FATAL_FAILURE(start_with_data(5));
  const int holder = leaseholder_of("app");
  ASSERT_GE(holder, 0);
  cluster().kill_node(holder);
  const int other = (holder + 1) % 3;
  EXPECT_EQ(value(other, "app", "SELECT count(*) FROM t"), "5");
  auto session = connect(other, "app");
  must(session, "INSERT INTO t VALUES (6, 'while one node is gone')");
  ASSERT_TRUE(cluster().start(holder).ok());
  ASSERT_NO_FATAL_FAILURE(wait_ready(holder));
  EXPECT_EQ(value(holder, "app", "SELECT count(*) FROM t"), "6");
  ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
}

TEST_F(FailuresTest, AWipedStoreUnderAnOldAddressComesBackAsANewNode) {
  ASSERT_NO_FATAL_FAILURE(start_with_data(5));
  const auto before = cluster().facts(2);
  ASSERT_TRUE(before.ok());
  cluster().kill_node(2);
  std::filesystem::remove_all(cluster().store(2));
  ASSERT_TRUE(cluster().start(2).ok());
  ASSERT_NO_FATAL_FAILURE(wait_ready(2));
  const auto after = cluster().facts(2);
  ASSERT_TRUE(after.ok());
  EXPECT_EQ(after->sql_addr, before->sql_addr);
  EXPECT_NE(after->node, before->node);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(value(i, "app", "SELECT count(*) FROM t"), "5");
}

}  // namespace
}  // namespace outlast
