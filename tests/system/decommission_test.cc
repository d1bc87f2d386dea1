// Nodes leave for good, or stay after all (protocol A10), on real processes.
#include <algorithm>
#include <atomic>
#include <thread>

#include "support/decommission_cluster.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;

class DecommissionTest : public testing_support::DecommissionClusterTest {};

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
