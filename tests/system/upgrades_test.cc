// Every node of every role goes to the next version and back, one after another, while clients work. Between two
// versions of this build; OUTLAST_OLDER_PROGRAM names the program of an earlier release to come from, and to go back
// to.
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <set>

#include "cli/http_get.h"
#include "support/roles_cluster.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
namespace fs = std::filesystem;

std::string older_program() {
  const char* const named = std::getenv("OUTLAST_OLDER_PROGRAM");
  return named == nullptr ? OUTLAST_BINARY : named;
}

/// Work that repeats itself until it is told to stop. `once` gets the number of the round, from 0.
class Client {
 public:
  explicit Client(std::function<void(int round)> once)
      : done_(std::async(std::launch::async, [this, once = std::move(once)] {
          while (!over_) once(rounds_), ++rounds_;
        })) {}
  ~Client() { over_ = true; }
  int rounds() const { return rounds_; }
  int stop() {
    over_ = true;
    done_.get();
    return rounds_;
  }

 private:
  std::atomic<bool> over_{false};
  std::atomic<int> rounds_{0};
  std::future<void> done_;
};

class UpgradesTest : public testing_support::RolesClusterTest {
 protected:
  static constexpr int kNodes = 6, kRows = 500;  // rows of a load

  void start_old() {
    path_ = dir() + "/outlast";
    fs::copy_file(older_program(), path_);
    use_start({}, path_);
    ASSERT_NO_FATAL_FAILURE(start({"frontend", "frontend", "backend", "backend", "backend", "compute"}, 3));
    auto sql = connect(0);
    must(sql, "CREATE TABLE parts (k bigint PRIMARY KEY, v text NOT NULL) PARTITION BY HASH (k) PARTITIONS 3");
    for (int i = 0; i < kNodes; ++i) {
      sql_.push_back(cluster().sql_url(i));
      http_.push_back(cluster().facts(i)->http_addr);
    }
  }
  /// What the next starts run; running processes keep theirs.
  void install(const std::string& program) {
    fs::copy_file(program, path_ + ".new");
    fs::rename(path_ + ".new", path_);
  }
  std::string version_of(cli::PgConnection& sql, int node) {
    const char* const listing = node < 2 ? "FRONTENDS" : node < 5 ? "BACKENDS" : "COMPUTE NODES";
    return cell(sql, listing, id(node), "Version");
  }
  /// As docs/graceful-exit.md says. Clients use the other frontend meanwhile.
  void replace(int node) {
    uses_ = node == 0 ? 1 : 0;
    until("clients at the other frontend", [&] { return at_[0] == uses_ && at_[1] == uses_ && at_[2] == uses_; });
    ASSERT_NO_FATAL_FAILURE(stop(node, {"-g"}));
    ASSERT_EQ(stopped(), 0) << stop_output();
    ASSERT_TRUE(cluster().start(node).ok());
    ASSERT_NO_FATAL_FAILURE(wait_ready(node));
    if (node >= 2 && node < 5) ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  }
  /// Each of them a client that changes its frontend only between two statements.
  cli::PgConnection& at_frontend(int client, std::optional<cli::PgConnection>& sql) {
    if (!sql || at_[client] != uses_) {
      const int frontend = uses_;
      sql.emplace(cli::PgConnection::connect(sql_[static_cast<std::size_t>(frontend)], "defaultdb", 10s).value());
      at_[client] = frontend;
    }
    return *sql;
  }
  /// The same label until an answer says that the rows are there.
  void load(int client, int round) {
    std::string body;
    for (int k = round * kRows; k < (round + 1) * kRows; ++k) body += std::to_string(k) + ",row\n";
    for (int attempt = 0; attempt < 20; ++attempt) {
      const int frontend = at_[client] = uses_.load();
      const auto answer =
          cli::http_send(http_[static_cast<std::size_t>(frontend)],
                         {"PUT", "/api/defaultdb/parts/_stream_load", {"label: l" + std::to_string(round)}, body}, 60s);
      if (!answer.ok()) continue;
      if (answer->body.find("\"Success\"") != std::string::npos) return;
      if (answer->body.find("\"FINISHED\"") != std::string::npos) return void(++found_finished_);
      EXPECT_NE(answer->status, 400) << answer->body;
    }
    ADD_FAILURE() << "load l" << round << " did not get in";
  }

  std::string path_;
  std::vector<std::string> sql_, http_;
  std::atomic<int> uses_{0}, at_[3]{0, 0, 0};
  std::atomic<int> found_finished_{0};
};

TEST_F(UpgradesTest, EveryNodeOfEveryRoleGoesToTheNextVersionAndBackUnderWork) {
  ASSERT_NO_FATAL_FAILURE(start_old());
  std::optional<cli::PgConnection> writer, reader;
  std::atomic<int> loaded{0};
  Client inserts(
      [&](int i) { must(at_frontend(0, writer), "INSERT INTO t VALUES (" + std::to_string(1000 + i) + ")"); });
  Client loads([&](int i) { load(1, i), loaded = i + 1; });
  Client queries([&](int) {
    const int least = loaded * kRows;
    const auto seen = must(at_frontend(2, reader), "SELECT count(*), count(DISTINCT k) FROM parts").rows.at(0);
    EXPECT_GE(std::stoi(*seen[0]), least);
    EXPECT_EQ(seen[0], seen[1]);
  });

  const std::string programs[] = {OUTLAST_NEXT_BINARY, older_program()};
  const std::string next_version = std::string(OUTLAST_VERSION) + ".next";
  for (const std::string& program : programs) {
    install(program);
    const bool forward = program == programs[0];
    for (const int node : {2, 3, 4, 5, 0, 1}) {  // backends and compute nodes first
      const int before = inserts.rounds();
      ASSERT_NO_FATAL_FAILURE(replace(node));
      auto sql = connect(node == 0 ? 1 : 0);
      EXPECT_EQ(version_of(sql, node) == next_version, forward) << version_of(sql, node);
      if (node == 3) EXPECT_NE(version_of(sql, 3), version_of(sql, 4)) << "both versions at work";
      // DDL, settings and tasks are everybody's, whichever program answers.
      must(sql, "CREATE DATABASE " + std::string(forward ? "up" : "down") + std::to_string(node));
      until("work goes on", [&] { return inserts.rounds() > before + 5; });
    }
  }
  const int written = inserts.stop(), labels = loads.stop();
  EXPECT_GT(queries.stop(), 0);
  auto sql = connect(0);
  EXPECT_EQ(must(sql, "SELECT count(*) FROM t").rows[0][0], std::to_string(100 + written));
  const auto rows = must(sql, "SELECT count(*), count(DISTINCT k), min(k), max(k) FROM parts").rows.at(0);
  const std::string all = std::to_string(labels * kRows), last = std::to_string(labels * kRows - 1);
  EXPECT_EQ(rows, (Row{all, all, "0", last}));
  std::cout << written << " rows inserted, " << labels << " loads, " << found_finished_ << " of them found finished\n";
}

}  // namespace
}  // namespace outlast
