#pragma once
#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/http_get.h"
#include "support/cluster.h"

namespace outlast::testing_support {

/// Processes with roles, and `outlast stop` for them.
class RolesClusterTest : public ClusterTest {
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
  /// What a listing shows of a node, its first column, in a column; empty: no such line or column, or NULL.
  std::string cell(cli::PgConnection& sql, const std::string& listing, const std::string& node,
                   const std::string& column) {
    const cli::PgReply shown = must(sql, "SHOW " + listing);
    const auto at = std::ranges::find(shown.columns, column) - shown.columns.begin();
    for (const Row& row : shown.rows)
      if (row[0] == node && at < std::ssize(row)) return row[static_cast<std::size_t>(at)].value_or("");
    return {};
  }
  std::string code_of(cli::PgConnection& sql, const std::string& node) {
    return cell(sql, "BACKENDS", node, "StatusCode");
  }
  /// Of the first two nodes the leader frontend, by the first one's view; -1: none.
  int leader() {
    auto sql = connect(0);
    for (int i = 0; i < 2; ++i)
      if (cell(sql, "FRONTENDS", id(i), "Role") == "LEADER") return i;
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
    const auto waited = cluster().wait_until("the end of `outlast stop`", std::chrono::seconds(30), [&] {
      for (int i = 0; i < cluster().size(); ++i) (void)cluster().running(i);
      return (code = cluster().command_exit()).has_value();
    });
    EXPECT_TRUE(waited.ok()) << waited.error().message << stop_output();
    return code.value_or(-1);
  }
  int health(int node) {
    const auto answer = cli::http_get(cluster().facts(node)->http_addr, "/api/health", std::chrono::seconds(5));
    return answer.ok() ? answer->status : 0;
  }
  template <class Reached>
  void until(const char* what, const Reached& reached) {
    const auto waited = cluster().wait_until(what, std::chrono::seconds(20), reached);
    EXPECT_TRUE(waited.ok()) << waited.error().message;
  }
};

}  // namespace outlast::testing_support
