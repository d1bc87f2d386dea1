// All nodes of a cluster are restarted batch by batch, as an operator asks for it, on real processes.
#include <unistd.h>

#include <csignal>
#include <future>
#include <set>

#include "cli/http_get.h"
#include "cli/workload.h"
#include "rpc/client.h"
#include "support/cluster.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
using testing_support::Finished;
using testing_support::run_outlast;

class RollingRestartTest : public testing_support::ClusterTest {
 protected:
  std::string host(int node) { return " --host=" + cluster().facts(node)->listen_addr; }

  /// Asks again while the node's process changes, or the machine is too busy to answer in time.
  Finished ask(const std::string& words, int node) {
    Finished finished;
    for (int i = 0; i < 10; ++i) {
      finished = run_outlast(words + host(node), 60);
      if (finished.output.find("is --host the --listen-addr of a running node?") == std::string::npos) break;
    }
    return finished;
  }

  /// Clients with one connection each for the whole test, which repeat nothing.
  void start_load(int nodes) {
    for (int i = 0; i < nodes; ++i) plan_.urls.push_back(cluster().sql_url(i));
    plan_.databases = 4;
    plan_.clients = nodes;
    plan_.naive = true;
    plan_.pause = 20ms;  // the nodes share this machine with the test
    const auto made = cli::workload_init(plan_, false);
    ASSERT_TRUE(made.ok()) << made.error().message;
    ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
    load_.emplace(plan_, record_);
    load_->start();
  }
  void expect_nothing_failed() {
    load_->stop();
    const cli::StatementCounts counts = record_.statements();
    EXPECT_GT(counts.ok, 0U);
    EXPECT_EQ(counts.failed, 0U);
    EXPECT_EQ(counts.unknown, 0U);
    for (const std::string& complaint : record_.complaints()) ADD_FAILURE() << complaint;
  }
  std::vector<pid_t> workers(int nodes) {
    std::vector<pid_t> out;
    for (int i = 0; i < nodes; ++i) out.push_back(cluster().facts(i)->worker_pid);
    return out;
  }
  int leader_frontend() {
    const auto status = rpc::AdminClient(cluster().facts(0)->listen_addr).node_status(5s);
    EXPECT_TRUE(status.ok());
    for (const auto& node : status->nodes())
      for (int i = 0; node.is_leader_frontend() && i < status->nodes_size(); ++i)
        if (cluster().facts(i)->node.value == node.id()) return i;
    ADD_FAILURE() << "nobody is leader frontend";
    return 0;
  }
  void start_three() {
    ASSERT_NO_FATAL_FAILURE(start_nodes(3));
    idle_.emplace(connect(0));
    must(*idle_, "CREATE TABLE t (id bigint PRIMARY KEY)");
    ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  }
  /// Three nodes, and their restart until the first of them has a new process.
  void restart_three(std::future<Finished>& running) {
    ASSERT_NO_FATAL_FAILURE(start_three());
    const std::vector<pid_t> before = workers(3);
    running = std::async(std::launch::async, [words = quick() + host(0)] { return run_outlast(words, 300); });
    const auto begun = cluster().wait_until("the first node's new process", 120s, [&] { return workers(3) != before; });
    ASSERT_TRUE(begun.ok()) << begun.error().message;
  }
  /// Windows that are short, and a p99 that a busy machine does not reach.
  static std::string quick() { return "cluster rolling-restart --window=1s --windows=2 --max-p99-ratio=1000"; }

  cli::WorkloadPlan plan_;
  cli::LoadRecord record_;
  std::optional<cli::WorkloadRun> load_;
  std::optional<cli::PgConnection> idle_;  ///< A session that does nothing while its node is restarted.
};

TEST_F(RollingRestartTest, FiveNodesUnderLoadAndNoStatementFails) {
  ASSERT_NO_FATAL_FAILURE(start_nodes(5));
  ASSERT_NO_FATAL_FAILURE(start_load(5));
  const std::vector<pid_t> before = workers(5);
  const Finished safe = ask("cluster safe-to-stop", 2);
  EXPECT_EQ(safe.code, 0) << safe.output;
  EXPECT_NE(safe.output.find("may stop together now: "), std::string::npos) << safe.output;
  EXPECT_NE(safe.output.find("in-sync replica"), std::string::npos) << "why not more: " << safe.output;
  const Finished dry = ask(quick() + " --dry-run", 1);
  EXPECT_EQ(dry.code, 0) << dry.output;
  EXPECT_NE(dry.output.find("batch 5: node "), std::string::npos) << dry.output;
  EXPECT_EQ(workers(5), before) << "nothing was changed";

  const Finished done = run_outlast(quick() + host(0), 300);
  EXPECT_EQ(done.code, 0) << done.output;
  EXPECT_NE(done.output.find("completed: 5 of 5 nodes restarted in 5 batches"), std::string::npos) << done.output;
  expect_nothing_failed();
  const std::vector<pid_t> after = workers(5);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_NE(after[i], before[i]) << "node " << i + 1 << " has its old process";
}

/// The command only asks; whoever starts processes here does it, as a service manager would.
TEST_F(RollingRestartTest, ACommandForEachNodeThatAnotherCommandLineGoesOnWith) {
  ASSERT_NO_FATAL_FAILURE(start_three());
  const std::vector<pid_t> before = workers(3);
  const std::string command = " --command='touch " + dir() + "/restart-$OUTLAST_NODE.{node}'";
  // It begins the task, and is ended somewhere in it.
  const Finished left = run_outlast(quick() + command + host(0), 15);
  EXPECT_EQ(left.code, 124) << left.output;

  int restarted = 0;
  std::set<pid_t> ending;
  /// Does what the command wished for; false while a process ends or is away.
  const auto tend = [&] {
    bool all_there = true;
    for (int i = 0; i < 3; ++i) {
      const auto facts = cluster().facts(i);
      const std::string id = facts.ok() ? facts->node.to_string() : "";
      const std::string wish = dir() + "/restart-" + id + "." + id;
      const bool wished = facts.ok() && ::access(wish.c_str(), F_OK) == 0;
      if (wished) {
        ::unlink(wish.c_str());
        ::kill(facts->pid, SIGTERM);
        ending.insert(facts->pid);
      }
      all_there &= facts.ok() && !ending.contains(facts->pid);
      if (cluster().running(i)) continue;
      all_there = false;
      EXPECT_TRUE(cluster().start(i).ok());
      ++restarted;
    }
    return all_there;
  };
  // Who attaches needs one node that answers; afterwards it knows them all.
  const auto there = cluster().wait_until("the node whose command had run", 60s, tend);
  ASSERT_TRUE(there.ok()) << there.error().message;
  auto attached =
      std::async(std::launch::async, [this] { return run_outlast("cluster rolling-restart --attach" + host(1), 300); });
  const auto over = [&] {
    tend();
    return attached.wait_for(10ms) == std::future_status::ready;
  };
  const auto waited = cluster().wait_until("the rolling restart", 240s, over);
  ASSERT_TRUE(waited.ok()) << waited.error().message;
  const Finished done = attached.get();
  ASSERT_EQ(done.code, 0) << done.output;
  EXPECT_EQ(restarted, 3);
  EXPECT_EQ(value(0, "defaultdb", "SELECT count(*) FROM t"), "0");
  for (std::size_t i = 0; i < 3; ++i) EXPECT_NE(workers(3)[i], before[i]);
}

TEST_F(RollingRestartTest, AnotherLeaderGoesOn) {
  std::future<Finished> running;
  ASSERT_NO_FATAL_FAILURE(restart_three(running));
  const int leader = leader_frontend();
  ASSERT_TRUE(cluster().kill_worker(leader).ok());
  const Finished done = running.get();
  EXPECT_EQ(done.code, 0) << done.output;
  EXPECT_NE(done.output.find("completed: 3 of 3 nodes restarted"), std::string::npos) << done.output;
}

TEST_F(RollingRestartTest, PausedNothingFurtherBeginsAndAbortedItEnds) {
  std::future<Finished> running;
  ASSERT_NO_FATAL_FAILURE(restart_three(running));
  const Finished second = ask(quick(), 1);
  EXPECT_EQ(second.code, 1) << second.output;
  EXPECT_NE(second.output.find("task 1 is a rolling restart that is running"), std::string::npos) << second.output;
  const Finished paused = ask("task pause 1", 2);
  EXPECT_EQ(paused.code, 0) << paused.output;
  const Finished cancelled = ask("task cancel 1", 2);
  EXPECT_EQ(cancelled.code, 0) << cancelled.output;
  const Finished done = running.get();
  EXPECT_EQ(done.code, 1) << done.output;
  EXPECT_NE(done.output.find("cancelled: "), std::string::npos) << done.output;
  EXPECT_EQ(done.output.find("batch 3"), std::string::npos) << done.output;
  const auto listed = cli::http_get(cluster().facts(0)->http_addr, "/api/tasks", 5s);
  ASSERT_TRUE(listed.ok() && listed->status == 200);
  EXPECT_NE(listed->body.find("\"cancelled\""), std::string::npos) << listed->body;
  EXPECT_EQ(listed->body, ask("task ls --format=json", 1).output);
}

}  // namespace
}  // namespace outlast
