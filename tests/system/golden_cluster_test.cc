// Nodes of earlier format versions join, follow and lead under this program (tests/golden/README.md).
#include <cstdlib>
#include <filesystem>
#include <set>

#include "cli/demo/proof.h"
#include "support/cluster.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
namespace fs = std::filesystem;

const char* const kVersions[] = {"v1"};
constexpr int kRows = 40;

class GoldenCluster : public testing_support::ClusterTest, public testing::WithParamInterface<const char*> {
 protected:
  static const char* target() { return std::getenv("OUTLAST_WRITE_GOLDEN"); }
  int tar(const std::string& arguments) { return std::system(("tar " + arguments).c_str()); }
  /// Three killed nodes with data that is partly in the database files and partly only in the logs.
  void write() {
    ASSERT_NO_FATAL_FAILURE(start_nodes(3));
    auto main = connect(0);
    must(main, "CREATE DATABASE app");
    auto app = connect(1, "app");
    must(app, "CREATE TABLE t (id bigint PRIMARY KEY, payload text NOT NULL)");
    for (int i = 1; i <= kRows; ++i)
      must(app, "INSERT INTO t VALUES (" + std::to_string(i) + ", 'row " + std::to_string(i) + "')");
    ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
    for (int i = 0; i < 3; ++i) cluster().kill_node(i);
    fs::create_directories(target());
    ASSERT_EQ(tar("-C " + dir() + " --exclude=LOCK --exclude=NODE.json --exclude='*.log' --exclude=db-wal -czf " +
                  fs::absolute(target()).string() + "/cluster.tar.gz meta node1 node2 node3"),
              0);
  }
};

TEST_P(GoldenCluster, NodesOfThatVersionJoinFollowAndLead) {
  if (target() != nullptr) return write();
  const std::string file = std::string(OUTLAST_GOLDEN_DIR) + "/" + GetParam() + "/cluster.tar.gz";
  ASSERT_EQ(tar("-C " + dir() + " -xzf " + file), 0);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(cluster().start(i).ok());
  for (int i = 0; i < 3; ++i) ASSERT_NO_FATAL_FAILURE(wait_ready(i));
  ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  EXPECT_EQ(value(0, "app", "SELECT count(*) FROM t"), std::to_string(kRows));
  EXPECT_EQ(value(1, "app", "SELECT payload FROM t WHERE id = 40"), "row 40");
  // Each node leads, and writes.
  std::set<int> led;
  int rounds = 0;
  for (; led.size() < 3 && rounds < 12; ++rounds) {
    const int holder = leaseholder_of("app");
    ASSERT_GE(holder, 0);
    led.insert(holder);
    eventually(holder, "app",
               "INSERT INTO t VALUES (" + std::to_string(1000 + rounds) + ", 'today') ON CONFLICT DO NOTHING");
    const auto killed = cluster().kill_worker(holder);
    ASSERT_TRUE(killed.ok());
    ASSERT_NO_FATAL_FAILURE(wait_ready(holder, *killed));
    ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  }
  EXPECT_EQ(led.size(), 3U);
  EXPECT_EQ(value(2, "app", "SELECT count(*) FROM t"), std::to_string(kRows + rounds));
  const auto compared = cli::compare_replicas(cluster(), 30s);
  ASSERT_TRUE(compared.ok()) << compared.error().message;
  EXPECT_EQ(compared->different, 0U);
  EXPECT_EQ(compared->not_compared, 0U);
}

INSTANTIATE_TEST_SUITE_P(Version, GoldenCluster, testing::ValuesIn(kVersions));

}  // namespace
}  // namespace outlast
