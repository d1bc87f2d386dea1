// Partitioned tables on real nodes: spread, changed, dropped, and finished when their gateway dies.
#include <algorithm>
#include <map>
#include <thread>

#include "support/cluster.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;

class PartitionedTest : public testing_support::ClusterTest {
 protected:
  struct Seen {
    std::map<std::string, int> leases;  ///< By leaseholder.
    int partitions{0}, whole{0};        ///< whole: with three in-sync replicas.
    std::string state;
  };
  Seen look(int node, const std::string& table) {
    Seen seen;
    auto connection = connect(node);
    const cli::PgReply shown = connection.run("SHOW PARTITIONS FROM " + table, 10s);
    EXPECT_TRUE(shown.ok) << shown.message;
    for (const auto& row : shown.rows) {
      ++seen.partitions;
      seen.leases[row.at(6).value_or("nobody")] += 1;
      seen.whole += std::ranges::count(row.at(7).value_or(""), ',') == 2 ? 1 : 0;
      seen.state = row.at(8).value_or("");
    }
    return seen;
  }
};

TEST_F(PartitionedTest, PartitionsAreSpreadChangedEverywhereAndDropped) {
  ASSERT_NO_FATAL_FAILURE(start_nodes(3));
  auto main = connect(0);
  must(main, "CREATE TABLE t (id bigint PRIMARY KEY, v text) PARTITION BY HASH (id) PARTITIONS 12");
  Seen seen;
  const auto spread = cluster().wait_until("12 partitions, spread", 60s, [&] {
    seen = look(1, "t");
    return seen.partitions == 12 && seen.whole == 12 && seen.leases.size() == 3;
  });
  ASSERT_TRUE(spread.ok()) << spread.error().message;
  for (const auto& [node, leases] : seen.leases) EXPECT_EQ(leases, 4) << "node " << node;
  auto other = connect(1);
  must(other, "ALTER TABLE t ADD COLUMN w int");
  must(other, "CREATE INDEX t_w ON t (w)");
  const cli::PgReply refused = main.run("BEGIN; DROP TABLE t", 10s);
  EXPECT_EQ(refused.sqlstate, "25001") << refused.message;
  must(main, "ROLLBACK");
  must(other, "DROP TABLE t");
  const auto gone = cluster().wait_until("no partitions", 10s, [&] { return cluster().ranges(0)->size() == 1; });
  EXPECT_TRUE(gone.ok()) << gone.error().message;
}

TEST_F(PartitionedTest, ATableWhoseGatewayDiesWhileItIsCreatedIsRemovedAndItsNameIsFree) {
  ASSERT_NO_FATAL_FAILURE(start_nodes(3));
  ASSERT_NO_FATAL_FAILURE(wait_replicated(3));  // the one that dies may have the only replica of the table's home
  const std::string create = "CREATE TABLE t (id bigint PRIMARY KEY) PARTITION BY HASH (id) PARTITIONS ";
  std::thread client([url = cluster().sql_url(2), &create] {
    auto connection = cli::PgConnection::connect(url, "defaultdb", 10s);
    if (connection.ok()) (void)connection->run(create + "400", 30s);
  });
  const auto begun =
      cluster().wait_until("a creation under way", 20s, [&] { return look(0, "t").state == "creating"; });
  cluster().kill_node(2);
  client.join();
  ASSERT_TRUE(begun.ok()) << begun.error().message;
  const auto removed = cluster().wait_until("its end", 30s, [&] { return look(0, "t").partitions == 0; });
  ASSERT_TRUE(removed.ok()) << removed.error().message;
  auto main = connect(0);
  must(main, create + "2");
  EXPECT_EQ(look(0, "t").partitions, 2);
}

}  // namespace
}  // namespace outlast
