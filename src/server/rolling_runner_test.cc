#include "server/rolling_runner.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

#include "meta/keys.h"
#include "placement/testing/views.h"
#include "server/rolling_api.h"
#include "tests/support/sim_loop.h"

namespace outlast::server {
namespace {
using namespace std::chrono_literals;
using lifecycle::RollingRecord;
using lifecycle::RollingStep;
using liveness::Peer;
using placement::testing::cluster_of;
using placement::testing::range_on;

/// Three nodes whose supervisors take a restart when they are asked, and finish it when the test says so.
class RollingRunnerTest : public testing::Test {
 protected:
  RollingRunnerTest() {
    view_ = cluster_of(3);
    view_.ranges = {range_on(1, {1, 2, 3}), range_on(2, {2, 3, 1}), range_on(3, {3, 1, 2})};
    proto::RollingRestartRequest request;
    request.set_windows(1);
    request.set_window_ms(1'000);
    const auto plan = plan_rolling_restart(view_, request, NodeId(1));
    keep({.id = 4, .kind = std::string(meta::kRollingRestartTask), .body = encode(plan->record)});
    runner_.emplace(loop_, ports());
    runner_->start();
  }

  RollingRunner::Ports ports() {
    RollingRunner::Ports out;
    out.in_office = [this] { return office_; };
    out.metadata = [] { return true; };
    out.tasks = [this] { return std::vector<meta::TaskMirror::EntryPtr>{task_}; };
    out.view = [this] { return view_; };
    out.live = [this](NodeId node) { return node == away_ ? std::nullopt : std::optional(incarnations_[node]); };
    out.self = NodeId(1);
    out.drain = [](Peer, const proto::DrainRequest&, Callback<proto::DrainStatus> done) { done(proto::DrainStatus()); };
    out.restart = [this](Peer peer, const proto::RestartRequest& request, Callback<RestartStatus> done) {
      if (peer.incarnation != incarnations_[peer.node]) return done(Error(Errc::kFenced, "another process"));
      if (!request.look()) ++asked_[peer.node];
      if (!request.look()) under_way_.insert(peer.node);
      RestartStatus status{.state = under_way_.contains(peer.node) ? "sessions" : "idle", .id = 9};
      if (refused_) {
        status.state = "idle";
        status.receipt = {{"id", 9}, {"outcome", "refused"}, {"why", "it does not start"}};
      }
      done(status);
    };
    out.statements = [this](Peer peer, Callback<proto::StatementsReply> done) {
      proto::StatementsReply reply;
      reply.add_seconds(0.001);
      reply.add_counts(statements_[peer] += 100);
      reply.add_counts(0);
      done(reply);
    };
    out.maintenance_until = [this](NodeId node) { return maintenance_[node]; };
    out.begin_maintenance = [this](NodeId node, std::int64_t until, const std::string&, Callback<void> done) {
      maintenance_[node] = until;
      done({});
    };
    out.store = [this](const meta::TaskMirror::EntryPtr& read, meta::TaskRecord next, Callback<void> done) {
      if (read != task_) return done(Error(Errc::kMetaConflict, "changed"));
      keep(std::move(next));
      done({});
    };
    return out;
  }
  void keep(meta::TaskRecord task) {
    task_ = std::make_shared<meta::TaskMirror::Entry>(
        meta::TaskMirror::Entry{meta::keys::task(task.id), std::move(task), Revision(++revision_), Revision(1)});
  }
  RollingRecord record() { return lifecycle::decode_rolling_record(task_->value.body).value(); }
  RollingStep step(std::uint32_t node) { return record().find(NodeId(node))->step; }
  void run(Duration time) { loop_.advance(time); }
  /// Until this node's restart is under way.
  void run_until_asked(std::uint32_t node) {
    for (int i = 0; i < 200 && !under_way_.contains(NodeId(node)); ++i) run(100ms);
    ASSERT_TRUE(under_way_.contains(NodeId(node)));
  }
  void replace(std::uint32_t node) {
    under_way_.erase(NodeId(node));
    incarnations_[NodeId(node)] = incarnations_[NodeId(node)].next();
  }

  testing_support::SimLoop loop_;
  placement::ClusterView view_;
  meta::TaskMirror::EntryPtr task_;
  std::uint64_t revision_{0};
  bool office_{true}, refused_{false};
  NodeId away_;
  std::map<NodeId, Incarnation> incarnations_{
      {NodeId(1), Incarnation(5)}, {NodeId(2), Incarnation(5)}, {NodeId(3), Incarnation(5)}};
  std::set<NodeId> under_way_;
  std::map<NodeId, int> asked_;
  std::map<NodeId, std::int64_t> maintenance_;
  std::map<Peer, std::uint64_t> statements_;
  std::optional<RollingRunner> runner_;
};

TEST_F(RollingRunnerTest, ReplacesOneNodeAfterTheOtherAndItsOwnLast) {
  for (const std::uint32_t node : {2U, 3U, 1U}) {
    ASSERT_NO_FATAL_FAILURE(run_until_asked(node));
    EXPECT_EQ(under_way_.size(), 1U);
    run(3s);
    EXPECT_EQ(step(node), RollingStep::kRestarting) << "until it is replaced";
    replace(node);
  }
  run(10s);
  EXPECT_EQ(task_->value.state, meta::TaskState::kCompleted);
  EXPECT_GT(task_->value.ended_micros, 0);
  EXPECT_NE(task_->value.outcome.find("3 of 3 nodes restarted in 3 batches"), std::string::npos)
      << task_->value.outcome;
  EXPECT_EQ(asked_, (std::map<NodeId, int>{{NodeId(1), 1}, {NodeId(2), 1}, {NodeId(3), 1}}));
  EXPECT_GT(record().baseline->statements, 100) << "all gateways together";
}

TEST_F(RollingRunnerTest, AnotherLeaderAsksForNoSecondRestart) {
  ASSERT_NO_FATAL_FAILURE(run_until_asked(2));
  auto stored = record();
  stored.find(NodeId(2))->restart = 0;  // the answer was not stored
  keep([&] {
    auto task = task_->value;
    task.body = encode(stored);
    return task;
  }());
  runner_.emplace(loop_, ports());
  runner_->start();
  run(5s);
  EXPECT_EQ(asked_[NodeId(2)], 1);
  EXPECT_EQ(record().find(NodeId(2))->restart, 9U);
}

TEST_F(RollingRunnerTest, ANodeThatACommandTakesAwayIsInMaintenanceUntilItIsBack) {
  auto changed = record();
  changed.options.command = "reboot";
  RollingRecord::Node& node = *changed.find(NodeId(2));
  node.step = RollingStep::kReturning;
  node.before = incarnations_[NodeId(2)];
  changed.baseline.emplace();
  keep([&] {
    auto task = task_->value;
    task.body = encode(changed);
    return task;
  }());
  away_ = NodeId(2);
  runner_.emplace(loop_, ports());
  runner_->start();
  run(1s);
  const auto soon = maintenance_[NodeId(2)] - loop_.wall_micros();
  EXPECT_GT(soon, std::chrono::microseconds(9min).count());
  EXPECT_LE(soon, std::chrono::microseconds(10min).count());
  maintenance_[NodeId(2)] = loop_.wall_micros() + std::chrono::microseconds(2h).count();
  const auto longer = maintenance_;
  run(1min);
  EXPECT_EQ(maintenance_, longer) << "an operator's is let be";
}

TEST_F(RollingRunnerTest, WithoutTheOfficeItDoesNothing) {
  office_ = false;
  run(30s);
  EXPECT_TRUE(asked_.empty());
  proto::TaskStatus status;
  EXPECT_FALSE(runner_->describe(4, status));
}

TEST_F(RollingRunnerTest, ARefusedRestartPausesTheTask) {
  refused_ = true;
  run(30s);
  EXPECT_EQ(task_->value.state, meta::TaskState::kPaused);
  EXPECT_EQ(record().paused_why, "node 2: its restart did not take place: refused: it does not start");
  proto::TaskStatus status;
  ASSERT_TRUE(runner_->describe(4, status));
  EXPECT_EQ(boost::json::parse(status.detail()).as_object().at("paused_why").as_string(), record().paused_why.c_str());
}

TEST(RollingPlanTest, NamesWhoCannotBePartOfIt) {
  auto view = cluster_of(4);
  view.ranges = {range_on(1, {1, 2, 3})};
  view.nodes[3].health = placement::NodeView::Health::kDead;
  auto plan = plan_rolling_restart(view, {}, NodeId(1));
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->record.nodes.size(), 3U);
  ASSERT_EQ(plan->reply.batches_size(), 3);
  EXPECT_EQ(plan->reply.batches(2).nodes(0), 1U) << "the leader comes last";
  EXPECT_EQ(plan->reply.left(0).why(), "it does not answer: start it first");
  proto::RollingRestartRequest request;
  request.add_nodes(4);
  EXPECT_EQ(plan_rolling_restart(view, request, NodeId(1)).error().code, Errc::kInvalidArgument);
  request.set_nodes(0, 9);
  EXPECT_EQ(plan_rolling_restart(view, request, NodeId(1)).error().code, Errc::kNotFound);
}

TEST(RollingPlanTest, ACommandNeedsSpareReplicas) {
  auto view = cluster_of(2);
  view.ranges = {range_on(1, {1, 2})};
  proto::RollingRestartRequest request;
  const auto plan = plan_rolling_restart(view, request, NodeId(1));
  ASSERT_TRUE(plan.ok()) << "a handover holds statements for a moment";
  EXPECT_EQ(plan->reply.batches_size(), 2);
  request.set_command("reboot");
  EXPECT_EQ(plan_rolling_restart(view, request, NodeId(1)).error().code, Errc::kInvalidState);
}

}  // namespace
}  // namespace outlast::server
