#include "support/cluster.h"

#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "cli/demo/proof.h"

namespace outlast::testing_support {
namespace {
using namespace std::chrono_literals;
constexpr auto kReadyTimeout = 60s, kStatementTimeout = 30s;
}  // namespace

Finished run_outlast(const std::string& arguments, int seconds_max, const std::string& environment) {
  const std::string command = environment + " timeout --kill-after=5 " + std::to_string(seconds_max) + " " +
                              OUTLAST_BINARY + " " + arguments + " 2>&1 < /dev/null";
  Finished finished;
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return {127, "cannot run " + command};
  char buffer[4096];
  for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) finished.output.append(buffer, n);
  const int status = ::pclose(pipe);
  finished.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return finished;
}

ClusterTest::ClusterTest() {
  dir_ = testing::TempDir() + "outlast-test-XXXXXX";
  if (::mkdtemp(dir_.data()) == nullptr) throw std::runtime_error("cannot make a folder below " + testing::TempDir());
  options_ = {.binary = OUTLAST_BINARY, .dir = dir_};
  make_cluster();
}

void ClusterTest::make_cluster() {
  cluster_ = std::make_unique<cli::LocalCluster>(options_);
}

ClusterTest::~ClusterTest() {
  if (HasFailure())
    for (int i = 0; i < cluster_->size(); ++i)
      std::printf("--- end of node %d's log\n%s\n", i + 1, cluster_->log_tail(i, 4000).c_str());
  cluster_.reset();
  std::error_code ignored;
  std::filesystem::remove_all(dir_, ignored);
}

void ClusterTest::use_meta(const std::string& url) {
  options_.meta = url;
  make_cluster();
}

void ClusterTest::use_start(std::vector<std::string> words, const std::string& program) {
  options_.start_args = std::move(words);
  if (!program.empty()) options_.binary = program;
  make_cluster();
}

void ClusterTest::use_roles(std::vector<std::string> roles) {
  options_.node_args = [roles = std::move(roles)](int node) {
    return std::vector{"--roles=" + roles.at(static_cast<std::size_t>(node))};
  };
  make_cluster();
}

void ClusterTest::use_collectors(std::vector<std::string> words) {
  options_.collectors = true;
  use_start(std::move(words));
}

void ClusterTest::start_nodes(int count) {
  for (int i = 0; i < count; ++i) {
    const auto started = cluster().start(i);
    ASSERT_TRUE(started.ok()) << started.error().message;
  }
  const auto initialised = cluster().init();
  ASSERT_TRUE(initialised.ok()) << initialised.error().message;
  for (int i = 0; i < count; ++i) ASSERT_NO_FATAL_FAILURE(wait_ready(i));
}

void ClusterTest::wait_ready(int node, pid_t not_worker) {
  const auto ready = cluster().wait_ready(node, kReadyTimeout, not_worker);
  ASSERT_TRUE(ready.ok()) << ready.error().message;
}

void ClusterTest::wait_replicated(int rf) {
  const auto waited = cluster().wait_until("full replication", kReadyTimeout, [&] {
    const auto ranges = cluster().ranges(0);
    return ranges.ok() && cli::fully_replicated(*ranges, rf);
  });
  ASSERT_TRUE(waited.ok()) << waited.error().message;
}

int ClusterTest::leaseholder_of(const std::string& database) {
  Result<std::vector<cli::RangeFacts>> ranges = Error(Errc::kNotReady, "");
  for (int i = 0; i < cluster().size() && !ranges.ok(); ++i) ranges = cluster().ranges(i);
  if (!ranges.ok()) return -1;
  for (const auto& range : *ranges)
    for (int i = 0; i < cluster().size(); ++i)
      if (const auto facts = cluster().facts(i);
          facts.ok() && range.database == database && range.leaseholder == facts->node)
        return i;
  return -1;
}

cli::PgConnection ClusterTest::connect(int node, const std::string& database) {
  auto made = cli::PgConnection::connect(cluster().sql_url(node), database, 10s);
  if (!made.ok())
    throw std::runtime_error("cannot connect to node " + std::to_string(node + 1) + ": " + made.error().message);
  return std::move(made).value();
}

cli::PgReply ClusterTest::must(cli::PgConnection& connection, const std::string& sql) {
  cli::PgReply reply = connection.run(sql, kStatementTimeout);
  EXPECT_TRUE(reply.ok) << sql << ": " << reply.sqlstate << " " << reply.message;
  return reply;
}

cli::PgReply ClusterTest::eventually(int node, const std::string& database, const std::string& sql) {
  cli::PgReply last;
  const auto waited = cluster().wait_until(sql, kStatementTimeout, [&] {
    auto made = cli::PgConnection::connect(cluster().sql_url(node), database, 5s);
    if (made.ok())
      last = made->run(sql, kStatementTimeout);
    else
      last.message = made.error().message;
    return last.ok;
  });
  EXPECT_TRUE(waited.ok()) << sql << ": " << last.sqlstate << " " << last.message;
  return last;
}

std::string ClusterTest::value(int node, const std::string& database, const std::string& sql) {
  const cli::PgReply reply = eventually(node, database, sql);
  if (reply.rows.empty() || reply.rows[0].empty()) return "(no row)";
  return reply.rows[0][0].value_or("NULL");
}

}  // namespace outlast::testing_support
