#include <gtest/gtest.h>

#include <map>

#include "cli/command.h"
#include "cli/rolling_follow.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
using lifecycle::RollingRecord;
using lifecycle::RollingStep;

TEST(RollingTextTest, SafeToStop) {
  proto::SafeToStopReply reply;
  EXPECT_EQ(safe_to_stop_text(reply), "no node may stop now\n");
  reply.add_nodes(2);
  reply.add_nodes(5);
  reply.set_largest(true);
  auto& left = *reply.add_left();
  left.set_node(3);
  left.set_why("range 7 would keep 1 in-sync replica and needs 2");
  EXPECT_EQ(safe_to_stop_text(reply),
            "may stop together now: 2,5\n  not node 3: range 7 would keep 1 in-sync replica and needs 2\n");
}

TEST(RollingTextTest, TheCommandNamesTheNode) {
  proto::NodeStatus node;
  node.set_id(3);
  node.set_address("10.0.0.3:26258");
  EXPECT_EQ(command_for("ssh db{node} restart # {address} {node}", node), "ssh db3 restart # 10.0.0.3:26258 3");
}

/// A cluster that grants claims at once, and a shell in which the test ends the commands.
class RollingFollowTest : public testing::Test {
 protected:
  RollingFollowTest() {
    record_.options.command = "restart {node}";
    record_.nodes = {{.node = NodeId(1)}, {.node = NodeId(2)}};
  }

  Result<proto::TasksReply> answer(const proto::TasksRequest& request) {
    if (silent_) return Error(Errc::kUnavailable, "connection refused");
    if (!known_) return refusal(Error(Errc::kNotFound, "there is no task 7"));
    proto::TasksReply reply;
    const NodeId node(request.node());
    if (request.action() == proto::TasksRequest::CLAIM) {
      auto next = claim_command(record_, node, request.token(), request.beat());
      if (!next.ok()) return refusal(next.error());
      record_ = *next;
      record_.find(node)->step = RollingStep::kRunning;
    }
    if (request.action() == proto::TasksRequest::REPORT) {
      auto next = report_command(record_, node, request.token(), request.exit(), "");
      if (!next.ok()) return refusal(next.error());
      record_ = *next;
      reported_[node] = request.exit();
    }
    auto& task = *reply.add_tasks();
    task.set_id(7);
    task.set_state(state_);
    task.set_outcome("that was it");
    task.set_detail(encode(record_));
    return reply;
  }
  static proto::TasksReply refusal(const Error& why) {
    proto::TasksReply reply;
    reply.set_code(std::string(facts(why.code).name));
    reply.set_message(why.message);
    return reply;
  }

  /// `each` is called with every look; true: Ctrl-C.
  int follow(const std::function<bool()>& each) {
    return RollingFollow({.task = 7, .token = "us", .json = false},
                         {.ask = [this](const proto::TasksRequest& request) { return answer(request); },
                          .run = [this](NodeId node, const std::string&) -> Result<void> {
                            started_.push_back(node);
                            return {};
                          },
                          .exit = [this](NodeId) { return exit_; },
                          .now = [this] { return now_; },
                          .pause =
                              [this, &each](Duration time) {
                                now_ += time;
                                return each();
                              },
                          .out = [this](const std::string& text) { out_ += text; },
                          .err = [this](const std::string& text) { err_ += text; }})
        .run();
  }

  RollingRecord record_;
  std::string state_{"running"}, out_, err_;
  std::vector<NodeId> started_;
  std::map<NodeId, int> reported_;
  std::optional<int> exit_;
  Duration now_{0};
  bool silent_{false}, known_{true};
};

TEST_F(RollingFollowTest, SaysWhatHappensAndHowItEnded) {
  record_.options.command.clear();
  int look = 0;
  lifecycle::RollingWindow baseline;
  baseline.per_second = 90;
  baseline.p99_ms = 4;
  EXPECT_EQ(follow([&] {
              if (++look == 1) record_.baseline = baseline;
              if (look == 2) record_.nodes[0].step = RollingStep::kRestarting, record_.nodes[0].batch = 1;
              if (look == 3) silent_ = true;
              if (look == 6) silent_ = false, record_.nodes[0].step = RollingStep::kDone;
              if (look == 7) state_ = "completed";
              return false;
            }),
            kDone);
  EXPECT_EQ(out_, "completed: that was it\n");
  EXPECT_EQ(err_,
            "task 7: rolling restart of 2 nodes; 30s of baseline first\n"
            "baseline: 90 statements/s, p50 0.0 ms, p99 4.0 ms, 0 errors\n"
            "batch 1: node 1 restarts\n"
            "no node answers (connection refused): the task goes on without us\n"
            "the cluster answers again\n"
            "batch 1: node 1 is back\n");
}

TEST_F(RollingFollowTest, ANodeMayLearnOfTheTaskALittleLater) {
  known_ = false;
  EXPECT_EQ(follow([&] {
              if (now_ > 2s) known_ = true, state_ = "completed";
              return false;
            }),
            kDone);
  known_ = false;
  EXPECT_EQ(follow([] { return false; }), kFailed);
}

TEST_F(RollingFollowTest, RunsTheCommandOfANodeOnceAndReportsIt) {
  record_.nodes[0].step = RollingStep::kCommand;
  EXPECT_EQ(follow([&] {
              if (now_ > 20s) exit_ = 0;
              if (now_ > 21s) state_ = "completed";
              return false;
            }),
            kDone);
  EXPECT_EQ(started_, std::vector<NodeId>{NodeId(1)});
  EXPECT_EQ(reported_, (std::map<NodeId, int>{{NodeId(1), 0}}));
  EXPECT_GT(record_.nodes[0].claim->beat, 5U) << "it says that it is alive";
}

TEST_F(RollingFollowTest, CtrlCLeavesTheTaskAloneAndWaitsForWhatRuns) {
  EXPECT_EQ(follow([] { return true; }), kInterrupted);
  EXPECT_NE(err_.find("task 7 goes on"), std::string::npos);
  record_.nodes[0].step = record_.nodes[1].step = RollingStep::kCommand;
  EXPECT_EQ(follow([&] {
              if (now_ > 5s) exit_ = 1;
              return now_ > 1s;
            }),
            kInterrupted);
  EXPECT_EQ(reported_.at(NodeId(1)), 1);
}

TEST_F(RollingFollowTest, APauseOfItsOwnEndsItWithThree) {
  state_ = "paused";
  record_.paused_why = "node 2: its restart did not take place";
  EXPECT_EQ(follow([] { return false; }), kVerdictNegative);
  EXPECT_NE(err_.find("paused: node 2: its restart did not take place\n`outlast task resume 7`"), std::string::npos);
}

}  // namespace
}  // namespace outlast::cli
