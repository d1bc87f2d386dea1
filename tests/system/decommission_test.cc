// Nodes leave for good, or stay after all (protocol A10), on real processes.
#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

#include "cli/workload.h"
#include "rpc/client.h"
#include "support/cluster.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
using Request = proto::DecommissionRequest;

class DecommissionTest : public testing_support::ClusterTest {
 protected:
  /// Databases enough that every node leads some.
  void start_with_databases(int nodes, int databases) {
    ASSERT_NO_FATAL_FAILURE(start_nodes(nodes));
    auto main = connect(0);
    for (int i = 0; i < databases; ++i) must(main, "CREATE DATABASE d" + std::to_string(i));
    auto app = connect(0, "d0");
    must(app, "CREATE TABLE t (id bigint PRIMARY KEY, v text)");
    must(app, "INSERT INTO t VALUES (0, 'first')");
    ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  }
  std::uint32_t id(int node) { return cluster().facts(node)->node.value; }
  rpc::AdminClient admin(int node) { return rpc::AdminClient(cluster().facts(node)->listen_addr); }
  proto::DecommissionReply ask(int at, Request::Action action, std::initializer_list<int> nodes,
                               const std::string& checks = "") {
    Request request;
    request.set_action(action);
    request.set_checks(checks);
    request.set_by("a test");
    for (const int node : nodes) request.add_nodes(id(node));
    auto reply = admin(at).decommission(request, 10s);
    EXPECT_TRUE(reply.ok()) << reply.error().message;
    return reply.ok() ? *reply : proto::DecommissionReply();
  }
  /// Begins, and expects that it may.
  std::uint64_t begin(int at, std::initializer_list<int> nodes) {
    const auto reply = ask(at, Request::BEGIN, nodes);
    EXPECT_EQ(reply.code(), "") << reply.message() << "\n" << reply.preflight().text();
    return reply.task();
  }
  std::optional<proto::TaskStatus> task(int at, std::uint64_t id) {
    proto::TasksRequest request;
    request.set_task(id);
    const auto reply = admin(at).tasks(request, 5s);
    if (!reply.ok() || reply->tasks_size() != 1) return std::nullopt;
    return reply->tasks(0);
  }
  proto::TaskStatus until(int at, std::uint64_t id, const std::string& what, Duration patience,
                          const std::function<bool(const proto::TaskStatus&)>& reached) {
    proto::TaskStatus last;
    const auto waited = cluster().wait_until(what, patience, [&] {
      const auto now = task(at, id);
      if (now) last = *now;
      return now && reached(*now);
    });
    EXPECT_TRUE(waited.ok()) << waited.error().message << "\n" << last.DebugString();
    return last;
  }
  proto::TaskStatus until_over(int at, std::uint64_t id, Duration patience = 90s) {
    return until(at, id, "the end of the task", patience,
                 [](const proto::TaskStatus& now) { return now.state() != "running" && now.state() != "paused"; });
  }
  std::optional<proto::NodeStatus> status(int at, std::uint32_t node) {
    const auto reply = admin(at).decommission_status(5s);
    if (!reply.ok()) return std::nullopt;
    for (const auto& each : reply->nodes())
      if (each.id() == node) return each;
    return std::nullopt;
  }
  int leader() {
    const auto reply = admin(0).node_status(5s);
    for (int i = 0; reply.ok() && i < cluster().size(); ++i)
      for (const auto& node : reply->nodes())
        if (node.is_leader_frontend() && cluster().facts(i).ok() && node.id() == id(i)) return i;
    return -1;
  }
  void expect_gone(int at, std::uint32_t node) {
    const auto now = status(at, node);
    ASSERT_TRUE(now);
    EXPECT_EQ(now->membership(), "decommissioned") << now->DebugString();
    EXPECT_EQ(now->replicas(), 0U);
    EXPECT_EQ(now->leases(), 0U);
    EXPECT_EQ(now->readiness(), "already decommissioned");
    for (const auto& range : *cluster().ranges(at)) {
      EXPECT_EQ(std::ranges::count(range.insync, NodeId(node)), 0) << range.database;
      EXPECT_GE(range.insync.size(), 3U) << range.database << ": one more while the balance moves a replica";
    }
  }
};

/// Writes one row after another through a node; none may fail.
class Writer {
 public:
  explicit Writer(cli::PgConnection connection)
      : thread_([this, connection = std::move(connection)](const std::stop_token& stop) mutable {
          while (!stop.stop_requested()) {
            const auto reply = connection.run("INSERT INTO t VALUES (" + std::to_string(written_ + 1) + ", 'x')", 30s);
            if (!reply.ok) {
              failure_ = reply.sqlstate + " " + reply.message;
              return;
            }
            ++written_;
          }
        }) {}
  int stop() {
    thread_.request_stop();
    thread_.join();
    EXPECT_EQ(failure_, "");
    return written_;
  }

 private:
  std::atomic<int> written_{0};
  std::string failure_;
  std::jthread thread_;
};

TEST_F(DecommissionTest, ANodeLeavesUnderWritesAndIsRefusedAtTheDoors) {
  ASSERT_NO_FATAL_FAILURE(start_with_databases(5, 8));
  const int leaves = leaseholder_of("d0"), stays = (leaves + 1) % 5;
  const std::uint32_t gone = id(leaves);
  const auto before = status(stays, gone);
  ASSERT_TRUE(before);
  EXPECT_EQ(before->readiness(), "ready");
  EXPECT_GT(before->replicas(), 0U);
  EXPECT_TRUE(ask(stays, Request::DRY_RUN, {leaves}).preflight().may_begin());
  EXPECT_EQ(status(stays, gone)->membership(), "active") << "a dry run changes nothing";
  Writer writer(connect(stays, "d0"));
  const std::uint64_t task = begin(stays, {leaves});
  const auto end = until_over(stays, task);
  EXPECT_EQ(end.state(), "completed") << end.DebugString();
  EXPECT_EQ(end.outcome(), "node " + std::to_string(gone) + " decommissioned");
  ASSERT_EQ(end.nodes_size(), 1);
  EXPECT_EQ(end.nodes(0).stage(), "settled");
  EXPECT_GT(end.nodes(0).replicas_at_start(), 0U);
  EXPECT_FALSE(end.nodes(0).in_absentia());
  const int written = writer.stop();
  EXPECT_EQ(value(stays, "d0", "SELECT count(*) FROM t"), std::to_string(written + 1));
  ASSERT_NO_FATAL_FAILURE(expect_gone(stays, gone));
  EXPECT_EQ(ask(stays, Request::BEGIN, {leaves}).task(), 0U) << "there is nothing left to do";
  const auto again = ask(stays, Request::RECOMMISSION, {leaves});
  EXPECT_EQ(again.code(), "invalid_state") << again.message();
  const auto refused = cli::PgConnection::connect(cluster().sql_url(leaves), "defaultdb", 5s);
  EXPECT_FALSE(refused.ok());
}

TEST_F(DecommissionTest, TwoNodesLeaveAtOnceWhileTheLeaderFrontendIsKilled) {
  ASSERT_NO_FATAL_FAILURE(start_with_databases(5, 12));
  const int leader_before = leader();
  ASSERT_GE(leader_before, 0);
  const int a = (leader_before + 1) % 5, b = (leader_before + 2) % 5, stays = (leader_before + 3) % 5;
  const std::uint32_t gone_a = id(a), gone_b = id(b);
  const std::uint64_t task = begin(stays, {a, b});
  (void)until(stays, task, "the marks", 20s, [](const proto::TaskStatus& now) {
    return std::ranges::all_of(now.nodes(), [](const auto& node) { return node.membership() != "active"; });
  });
  ASSERT_TRUE(cluster().kill_worker(leader_before).ok());
  const auto end = until_over(stays, task, 120s);
  EXPECT_EQ(end.state(), "completed") << end.DebugString();
  ASSERT_NO_FATAL_FAILURE(expect_gone(stays, gone_a));
  ASSERT_NO_FATAL_FAILURE(expect_gone(stays, gone_b));
}

TEST_F(DecommissionTest, TheLeaderFrontendItselfLeaves) {
  ASSERT_NO_FATAL_FAILURE(start_with_databases(4, 4));
  const int leaves = leader(), stays = (leaves + 1) % 4;
  const std::uint32_t gone = id(leaves);
  const auto end = until_over(stays, begin(leaves, {leaves}));
  EXPECT_EQ(end.state(), "completed") << end.DebugString();
  ASSERT_NO_FATAL_FAILURE(expect_gone(stays, gone));
}

TEST_F(DecommissionTest, ThreeNodesBlockSaySoAndGoOnWhenAFourthJoins) {
  ASSERT_NO_FATAL_FAILURE(start_with_databases(3, 2));
  const auto refused = ask(0, Request::BEGIN, {2});
  EXPECT_EQ(refused.code(), "invalid_state");
  EXPECT_NE(refused.preflight().text().find("ranges blocking decommission detected"), std::string::npos);
  EXPECT_NE(refused.preflight().fix().find("add 1 node"), std::string::npos) << refused.preflight().fix();
  EXPECT_EQ(status(0, id(2))->readiness(), "allocation errors");
  const std::uint32_t gone = id(2);
  const auto begun = ask(0, Request::BEGIN, {2}, "skip");
  ASSERT_NE(begun.task(), 0U) << begun.message();
  const auto since = std::chrono::steady_clock::now();
  const auto stalled = until(0, begun.task(), "the stall", 20s,
                             [](const proto::TaskStatus& now) { return !now.stall().reason().empty(); });
  EXPECT_LT(std::chrono::steady_clock::now() - since, 12s);
  EXPECT_EQ(stalled.stall().reason(), "not enough nodes");
  EXPECT_EQ(stalled.stall().ranges_size(), 3) << stalled.DebugString();
  EXPECT_EQ(status(0, gone)->membership(), "decommissioning") << "never early";
  ASSERT_TRUE(cluster().start(3).ok());
  ASSERT_NO_FATAL_FAILURE(wait_ready(3));
  EXPECT_EQ(until_over(0, begun.task()).state(), "completed");
  ASSERT_NO_FATAL_FAILURE(expect_gone(0, gone));
}

TEST_F(DecommissionTest, ARecommissionedNodeServesOn) {
  ASSERT_NO_FATAL_FAILURE(start_with_databases(3, 2));
  const auto begun = ask(0, Request::BEGIN, {2}, "skip");
  (void)until(0, begun.task(), "the mark", 20s,
              [](const proto::TaskStatus& now) { return now.nodes(0).membership() == "decommissioning"; });
  const auto back = ask(1, Request::RECOMMISSION, {2});
  EXPECT_EQ(back.code(), "") << back.message();
  EXPECT_EQ(back.task(), begun.task());
  const auto end = until_over(0, begun.task(), 30s);
  EXPECT_EQ(end.state(), "cancelled") << end.DebugString();
  EXPECT_EQ(end.outcome(), "node " + std::to_string(id(2)) + " recommissioned");
  EXPECT_EQ(status(0, id(2))->membership(), "active");
  EXPECT_EQ(ask(0, Request::RECOMMISSION, {2}).task(), 0U) << "there is nothing left to do";
  EXPECT_EQ(value(2, "d0", "SELECT count(*) FROM t"), "1");
}

TEST_F(DecommissionTest, APausedTaskWaitsAndACancelledOneBringsItsNodesBack) {
  ASSERT_NO_FATAL_FAILURE(start_with_databases(3, 2));
  const std::uint64_t id = ask(0, Request::BEGIN, {2}, "skip").task();
  const auto wish = [&](proto::TasksRequest::Action action) {
    proto::TasksRequest request;
    request.set_action(action);
    request.set_task(id);
    const auto reply = admin(1).tasks(request, 10s);
    ASSERT_TRUE(reply.ok()) << reply.error().message;
    EXPECT_EQ(reply->code(), "") << reply->message();
  };
  wish(proto::TasksRequest::PAUSE);
  EXPECT_EQ(until(1, id, "the pause", 10s, [](const auto& now) { return now.state() == "paused"; }).state(), "paused");
  wish(proto::TasksRequest::RESUME);
  (void)until(1, id, "the mark", 20s, [](const auto& now) { return now.nodes(0).membership() == "decommissioning"; });
  wish(proto::TasksRequest::CANCEL);
  EXPECT_EQ(until_over(1, id, 30s).state(), "cancelled");
  EXPECT_EQ(status(1, this->id(2))->membership(), "active");
}

TEST_F(DecommissionTest, ADeadNodeIsDecommissionedInAbsentia) {
  ASSERT_NO_FATAL_FAILURE(start_with_databases(4, 4));
  auto main = connect(0);
  const std::uint32_t gone = id(3);
  cluster().kill_node(3);
  // Not dead for long enough: the task may begin, and does not end before that.
  Request request;
  request.set_action(Request::BEGIN);
  request.set_checks("skip");
  request.add_nodes(gone);
  const auto begun = admin(0).decommission(request, 10s);
  ASSERT_TRUE(begun.ok() && begun->code().empty());
  const auto waits = until(0, begun->task(), "the stall", 40s, [](const proto::TaskStatus& now) {
    return now.has_progress() && !now.stall().reason().empty();
  });
  EXPECT_EQ(waits.stall().reason(), "it does not answer, and is not dead yet");
  must(main, "SET CLUSTER SETTING server.time_until_store_dead = '2s'");
  const auto end = until_over(0, begun->task());
  EXPECT_EQ(end.state(), "completed") << end.DebugString();
  EXPECT_TRUE(end.nodes(0).in_absentia());
  ASSERT_NO_FATAL_FAILURE(expect_gone(0, gone));
}

}  // namespace
}  // namespace outlast
