// Clusters whose metadata store cannot be written to: data goes on (protocol A4.6 b).
#include <sqlite3.h>

#include "cli/http_get.h"
#include "support/cluster.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;

/// Holds the metadata file's write lock, so that no process can renew, fence or change anything.
class MetadataOutOfReach {
 public:
  explicit MetadataOutOfReach(const std::string& meta) {
    const std::string file = meta.substr(meta.find(':') + 1) + "/meta.db";
    EXPECT_EQ(sqlite3_open_v2(file.c_str(), &db_, SQLITE_OPEN_READWRITE, nullptr), SQLITE_OK) << file;
    sqlite3_busy_timeout(db_, 30'000);
    EXPECT_EQ(sqlite3_exec(db_, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db_);
  }
  ~MetadataOutOfReach() { sqlite3_close(db_); }
  MetadataOutOfReach(const MetadataOutOfReach&) = delete;
  MetadataOutOfReach& operator=(const MetadataOutOfReach&) = delete;

 private:
  sqlite3* db_{nullptr};
};

class MetadataTest : public testing_support::ClusterTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(start_nodes(3));
    auto main = connect(0);
    must(main, "CREATE DATABASE app");
    auto app = connect(0, "app");
    must(app, "CREATE TABLE t (id bigint PRIMARY KEY)");
    ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  }
  /// Reads that other replicas had to confirm for this node.
  std::uint64_t confirmed_reads(int node) {
    constexpr std::string_view kName = "\noutlast_executor_confirmed_reads_total ";
    const auto answer = cli::http_get(cluster().facts(node).value().http_addr, "/metrics", 10s);
    EXPECT_TRUE(answer.ok());
    if (!answer.ok()) return 0;
    const auto at = answer->body.find(kName);
    EXPECT_NE(at, std::string::npos);
    return at == std::string::npos ? 0 : std::strtoull(answer->body.c_str() + at + kName.size(), nullptr, 10);
  }
};

TEST_F(MetadataTest, ReadsAndWritesGoOnWhileMetadataIsOutOfReachForLongerThanTheTtl) {
  const int holder = leaseholder_of("app");
  ASSERT_GE(holder, 0);
  std::vector<pid_t> workers;
  for (int i = 0; i < 3; ++i) workers.push_back(cluster().facts(i).value().worker_pid);
  auto near = connect(holder, "app"), far = connect((holder + 1) % 3, "app");
  int rows = 0;
  {
    const MetadataOutOfReach cut(cluster().meta());
    const auto step = [&] {
      must(far, "INSERT INTO t VALUES (" + std::to_string(++rows) + ")");
      for (auto* session : {&near, &far}) {
        const auto read = must(*session, "SELECT count(*) FROM t");
        EXPECT_EQ(read.rows.empty() ? "(no row)" : read.rows[0][0].value_or("NULL"), std::to_string(rows));
      }
      return HasFailure() || confirmed_reads(holder) > 0;
    };
    const auto waited = cluster().wait_until("the lease deadline to pass", 60s, step);
    ASSERT_TRUE(waited.ok()) << waited.error().message;
    const std::uint64_t before = confirmed_reads(holder);
    for (int i = 0; i < 20; ++i) step();
    EXPECT_GE(confirmed_reads(holder), before + 40);
  }
  // It is back: changes of the configuration work again, and nobody was fenced.
  eventually(0, "defaultdb", "CREATE DATABASE later");
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(value(i, "app", "SELECT count(*) FROM t"), std::to_string(rows));
    EXPECT_EQ(cluster().facts(i).value().worker_pid, workers.at(static_cast<std::size_t>(i)));
  }
}

TEST_F(MetadataTest, WithTheSettingEveryReadIsConfirmed) {
  auto main = connect(0);
  must(main, "SET CLUSTER SETTING sql.reads = 'confirmed'");
  const int holder = leaseholder_of("app");
  ASSERT_GE(holder, 0);
  auto session = connect(holder, "app");
  const auto waited = cluster().wait_until("the setting to arrive", 30s, [&] {
    must(session, "SELECT count(*) FROM t");
    return HasFailure() || confirmed_reads(holder) > 0;
  });
  ASSERT_TRUE(waited.ok()) << waited.error().message;
  must(session, "INSERT INTO t VALUES (1)");
  const auto read = must(session, "SELECT count(*) FROM t");
  ASSERT_FALSE(read.rows.empty());
  EXPECT_EQ(read.rows[0][0], "1");
  must(main, "SET CLUSTER SETTING sql.reads = 'fast'");
}

}  // namespace
}  // namespace outlast
