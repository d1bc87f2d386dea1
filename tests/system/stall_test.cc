// A range that has lost the replicas that its commits need (protocol A5.4).
#include <csignal>
#include <future>

#include "support/cluster.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;

class StallTest : public testing_support::ClusterTest {
 protected:
  void signal_others(int holder, int signal) {
    for (int i = 0; i < 3; ++i)
      if (i != holder) ::kill(workers_.at(static_cast<std::size_t>(i)), signal);
  }
  void note_workers() {
    workers_.clear();
    for (int i = 0; i < 3; ++i) {
      const auto facts = cluster().facts(i);
      ASSERT_TRUE(facts.ok()) << facts.error().message;
      workers_.push_back(facts->worker_pid);
    }
  }
  /// Writes to the table `probe` until one is refused as the range is stalled; the last answer.
  cli::PgReply refusal(int node, Duration limit) {
    cli::PgReply last;
    static_cast<void>(cluster().wait_until("a write to be refused", limit, [&] {
      auto session = connect(node, "app");
      must(session, "SET statement_timeout = '2s'");
      last = session.run("INSERT INTO probe VALUES (1)", 10s);
      return last.sqlstate == "53000";
    }));
    return last;
  }
  std::vector<pid_t> workers_;
};

TEST_F(StallTest, WithTwoOfThreeWorkersStoppedReadsGoOnAndWritesSayWhy) {
  ASSERT_NO_FATAL_FAILURE(start_nodes(3));
  auto main = connect(0);
  must(main, "CREATE DATABASE app");
  auto app = connect(0, "app");
  must(app, "CREATE TABLE t (id bigint PRIMARY KEY)");
  must(app, "CREATE TABLE probe (id bigint)");
  for (int i = 1; i <= 20; ++i) must(app, "INSERT INTO t VALUES (" + std::to_string(i) + ")");
  ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  const int holder = leaseholder_of("app");
  ASSERT_GE(holder, 0);
  auto writer = connect(holder, "app");
  auto reader = connect(holder, "app");
  must(reader, "SELECT count(*) FROM t");

  // A worker that is stopped inside a metadata write holds the metadata file's lock: then try once more.
  std::future<cli::PgReply> waiting;
  cli::PgReply refused;
  int stored = 20;
  for (int attempt = 0; attempt < 3 && refused.sqlstate != "53000"; ++attempt) {
    if (waiting.valid()) stored += waiting.get().ok ? 1 : 0;
    ASSERT_NO_FATAL_FAILURE(note_workers());
    signal_others(holder, SIGSTOP);
    waiting = std::async(std::launch::async, [&writer, id = 100 + attempt] {
      return writer.run("INSERT INTO t VALUES (" + std::to_string(id) + ")", 120s);
    });
    refused = refusal(holder, 20s);
    if (refused.sqlstate != "53000") signal_others(holder, SIGCONT);
  }
  EXPECT_EQ(refused.sqlstate, "53000") << refused.message;
  EXPECT_NE(refused.message.find("nothing was applied"), std::string::npos) << refused.message;
  const auto rows = must(reader, "SELECT count(*) FROM t");
  ASSERT_FALSE(rows.rows.empty());
  EXPECT_EQ(rows.rows[0][0], std::to_string(stored)) << "what is durable, and nothing else";
  EXPECT_EQ(waiting.wait_for(0s), std::future_status::timeout) << "nobody knows its outcome yet";

  signal_others(holder, SIGCONT);
  const auto written = waiting.get();
  EXPECT_TRUE(written.ok) << written.sqlstate << " " << written.message;
  eventually(holder, "app", "INSERT INTO t VALUES (200) ON CONFLICT DO NOTHING");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(value(i, "app", "SELECT count(*) FROM t"), std::to_string(stored + 2));
  ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
}

}  // namespace
}  // namespace outlast
