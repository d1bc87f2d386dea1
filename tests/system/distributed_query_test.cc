// Queries over a partitioned table on real nodes: while a leaseholder is killed, cancelled, and beyond their memory.
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>

#include "support/cluster.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;

class DistributedQueryTest : public testing_support::ClusterTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(start_nodes(3));
    auto main = connect(0);
    must(main, "CREATE TABLE t (k bigint, a int, s text) PARTITION BY HASH (k) PARTITIONS 6");
    must(main, "CREATE TABLE p (a int, name text)");
    must(main, "INSERT INTO p VALUES (0, 'zero'), (1, 'one')");
    std::string rows;
    for (int k = 0; k < 600; ++k)
      rows += (k == 0 ? "(" : ", (") + std::to_string(k) + ", " + std::to_string(k % 3) + ", 'row " +
              std::to_string(k) + "')";
    must(main, "INSERT INTO t VALUES " + rows);
  }
  static constexpr const char* kSum = "SELECT count(*) || ' ' || sum(k) FROM t";
  static constexpr const char* kSumIs = "600 179700";
};

TEST_F(DistributedQueryTest, AnswersAreWholeThroughEveryNodeAndWhileALeaseholderIsKilled) {
  for (int node = 0; node < 3; ++node) EXPECT_EQ(value(node, "defaultdb", kSum), kSumIs);
  EXPECT_EQ(value(1, "defaultdb", "SELECT count(*) FROM t JOIN p USING (a) WHERE name = 'one'"), "200");
  EXPECT_EQ(value(2, "defaultdb", "SELECT s FROM t WHERE k = 77"), "row 77");
  auto explained = connect(0);
  const cli::PgReply plan = must(explained, std::string("EXPLAIN ") + kSum);
  std::string text;
  for (const auto& row : plan.rows) text += row.at(0).value_or("") + "\n";
  EXPECT_NE(text.find("6 of 6 partitions"), std::string::npos) << text;
  EXPECT_NE(text.find("at node "), std::string::npos) << text;
  const auto whole = cluster().wait_until("three replicas of each partition", 60s, [&] {
    auto connection = connect(0);
    const cli::PgReply shown = connection.run("SHOW PARTITIONS FROM t", 10s);
    std::size_t complete = 0;
    for (const auto& row : shown.rows) {
      const std::string in_sync = row.at(7).value_or("");
      complete += in_sync.find(',') != in_sync.rfind(',') ? 1 : 0;
    }
    return complete == 6;
  });
  ASSERT_TRUE(whole.ok()) << whole.error().message;
  wait_replicated(3);
  cluster().kill_node(1);
  auto survivor = connect(0);
  const cli::PgReply after = survivor.run(kSum, 60s);  // waits for the new leaseholders, unseen
  ASSERT_TRUE(after.ok) << after.message;
  EXPECT_EQ(after.rows.at(0).at(0).value_or(""), kSumIs);
}

TEST_F(DistributedQueryTest, MemoryAndTimeAreLimited) {
  auto main = connect(0);
  must(main, "SET CLUSTER SETTING sql.query_memory_limit = '1MiB'");
  must(main, "CREATE TABLE w (k bigint, s text) PARTITION BY HASH (k) PARTITIONS 2");
  for (int k = 0; k < 4; ++k) must(main, "INSERT INTO w VALUES (" + std::to_string(k) + ", repeat('x', 500000))");
  const auto limited = cluster().wait_until("the new limit", 20s, [&] {
    return connect(0).run("SELECT max(s || k) FROM w a, (SELECT 1) b", 20s).sqlstate == "53200";
  });
  EXPECT_TRUE(limited.ok()) << limited.error().message;
  EXPECT_EQ(value(0, "defaultdb", "SELECT count(*) FROM w"), "4");
  must(main, "SET statement_timeout = '300ms'");
  const auto began = std::chrono::steady_clock::now();
  const cli::PgReply late =
      main.run("SELECT count(*) FROM t a, t b, t c, t d WHERE a.s || b.s || c.s || d.s = 'no'", 20s);
  EXPECT_EQ(late.sqlstate, "57014") << late.message;
  EXPECT_LT(std::chrono::steady_clock::now() - began, 10s);
}

}  // namespace
}  // namespace outlast
