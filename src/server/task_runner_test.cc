#include "server/task_runner.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "placement/testing/views.h"
#include "server/replica_sizes.h"
#include "server/task_api.h"
#include "server/task_progress.h"
#include "tests/support/sim_loop.h"

namespace outlast::server {
namespace {
using namespace std::chrono_literals;
using lifecycle::DecommissionOrder;
using lifecycle::DecommissionRecord;
using lifecycle::StallReason;
using placement::Membership;
using placement::Step;
using placement::testing::cluster_of;
using placement::testing::range_on;
using Order = DecommissionOrder::Kind;

/// A cluster that carries orders out at once, and steps when the test lets it.
class TaskRunnerTest : public testing::Test {
 protected:
  TaskRunner::Ports ports() {
    TaskRunner::Ports out;
    out.in_office = [this] { return office_; };
    out.metadata = [] { return true; };
    out.tasks = [this] {
      std::vector<meta::TaskMirror::EntryPtr> all;
      for (const auto& [id, entry] : tasks_) all.push_back(entry);
      return all;
    };
    out.view = [this] { return view_; };
    out.facts = [this](NodeId node) {
      lifecycle::LeavingNode facts;
      facts.node = node;
      facts.draining = facts.drained = drained_.contains(node);
      return facts;
    };
    out.settings = [] { return TaskRunner::Ports::Settings(); };
    out.take = [this](const Step& step, Callback<void> done) {
      steps_.push_back(step);
      const Result<void> answer = refusal_ ? Result<void>(*refusal_) : Result<void>();
      if (!refusal_ && steps_taken_) apply(step);
      loop_.post([done = std::move(done), answer]() mutable { done(answer); });
    };
    out.order = [this](const meta::TaskMirror::EntryPtr& task, const DecommissionOrder& order,
                       const lifecycle::LeavingNode& seen, Callback<void> done) {
      orders_.emplace_back(order.kind, order.node.value);
      carry_out(task->value.id, order, seen);
      loop_.post([done = std::move(done)]() mutable { done({}); });
    };
    out.report = [this](std::uint64_t, const lifecycle::Obstacle& stall) { stalls_.push_back(stall.reason); };
    return out;
  }
  void store(std::uint64_t id, const DecommissionRecord& record, meta::TaskState state = meta::TaskState::kRunning) {
    meta::TaskRecord task{.id = id, .kind = std::string(meta::kDecommissionTask), .state = state};
    task.body = encode(record);
    if (record.over()) task.state = meta::TaskState::kCompleted;
    tasks_[id] = std::make_shared<meta::TaskMirror::Entry>(
        meta::TaskMirror::Entry{meta::keys::task(id), task, Revision(++revision_), Revision(1)});
  }
  DecommissionRecord stored(std::uint64_t id) {
    return lifecycle::decode_decommission_record(tasks_.at(id)->value.body).value();
  }
  void begin(std::uint64_t id, std::initializer_list<std::uint32_t> nodes) {
    DecommissionRecord record;
    record.task = id;
    for (const std::uint32_t node : nodes) record.nodes.push_back({.node = NodeId(node)});
    store(id, record);
  }
  void carry_out(std::uint64_t task, const DecommissionOrder& order, const lifecycle::LeavingNode& seen) {
    Membership& membership = view_.nodes.at(order.node.value - 1).membership;
    if (order.kind == Order::kMark) membership = Membership::kDecommissioning;
    if (order.kind == Order::kUnmark) membership = Membership::kActive;
    if (order.kind == Order::kFinish) membership = Membership::kDecommissioned;
    if (order.kind == Order::kDrain) drained_.insert(order.node);
    if (order.kind == Order::kSettle) store(task, lifecycle::DecommissionMachine::settled(stored(task), seen));
  }
  void apply(const Step& step) {
    placement::RangeConfig& config = view_.ranges.at(step.range.value - 1);
    const std::string uuid = "s" + step.node.to_string();
    if (step.kind == Step::Kind::kAddReplica) {
      config = promote_learner(add_learner(config, step.node, uuid).value(), step.node, uuid, config.rf).value();
    } else if (step.kind == Step::Kind::kTransferLease) {
      config = transfer_lease(config, step.node, Incarnation(1)).value();
    } else {
      const ReplicaId gone = config.find(step.node)->replica;
      config = remove_learner(remove_backup(config, step.node).value(), step.node).value();
      config = forget_removed(config, gone).value();
    }
    EXPECT_GE(config.insync.size(), 3U);
  }
  Membership membership(std::uint32_t node) const { return view_.nodes.at(node - 1).membership; }

  testing_support::SimLoop loop_;
  bool office_{true}, steps_taken_{true};
  std::optional<Error> refusal_;
  placement::ClusterView view_ = cluster_of(6);
  std::map<std::uint64_t, meta::TaskMirror::EntryPtr> tasks_;
  std::uint64_t revision_{1};
  std::set<NodeId> drained_;
  std::vector<Step> steps_;
  std::vector<std::pair<Order, std::uint32_t>> orders_;
  std::vector<StallReason> stalls_;
  TaskRunner runner_{loop_, ports(), 7};
};

TEST_F(TaskRunnerTest, TakesTwoNodesOutAndNeverLowersARange) {
  for (std::uint64_t i = 1; i <= 40; ++i) view_.ranges.push_back(range_on(i, {5, 6, 1}, 100));
  begin(1, {5, 6});
  runner_.start();
  EXPECT_TRUE(loop_.advance_until([&] { return stored(1).over(); }, 60s));
  EXPECT_EQ(membership(5), Membership::kDecommissioned);
  EXPECT_EQ(membership(6), Membership::kDecommissioned);
  for (const auto& range : view_.ranges) EXPECT_TRUE(!range.find(NodeId(5)) && !range.find(NodeId(6)));
  loop_.advance(2s);
  EXPECT_FALSE(runner_.busy());
  EXPECT_TRUE(stalls_.empty());
}

TEST_F(TaskRunnerTest, AStepThatCameTooEarlyDelaysNobody) {
  for (std::uint64_t i = 1; i <= 4; ++i) view_.ranges.push_back(range_on(i, {5, 6, 1}, 100));
  begin(1, {5});
  refusal_ = Error(Errc::kNotLeaseholder, "the range is not led by this node");
  runner_.start();
  ASSERT_TRUE(loop_.advance_until([&] { return !steps_.empty(); }, 60s));
  refusal_.reset();
  EXPECT_TRUE(loop_.advance_until([&] { return view_.ranges[0].find(NodeId(5)) == nullptr; }, 100ms));
}

TEST_F(TaskRunnerTest, TwoTasksOnTheSameRangesKeepThemWhole) {
  for (std::uint64_t i = 1; i <= 40; ++i) view_.ranges.push_back(range_on(i, {5, 6, 1}, 100));
  begin(1, {5});
  begin(2, {6});
  runner_.start();
  EXPECT_TRUE(loop_.advance_until([&] { return stored(1).over() && stored(2).over(); }, 120s));
  for (const auto& range : view_.ranges) EXPECT_EQ(range.insync.size(), 3U);
}

TEST_F(TaskRunnerTest, OutOfOfficeItDoesNothingAndAnotherGoesOnFromTheRecord) {
  view_.ranges = {range_on(1, {5, 2, 1}, 100)};
  begin(1, {5});
  office_ = false;
  runner_.start();
  loop_.advance(5s);
  EXPECT_TRUE(orders_.empty() && steps_.empty());
  steps_taken_ = false;
  office_ = true;
  loop_.advance(2s);
  EXPECT_EQ(membership(5), Membership::kDecommissioning);
  office_ = false;
  loop_.advance(2s);
  EXPECT_FALSE(runner_.busy());
  steps_taken_ = true;
  TaskRunner next(loop_, ports(), 8);
  office_ = true;
  next.start();
  EXPECT_TRUE(loop_.advance_until([&] { return stored(1).over(); }, 60s));
}

TEST_F(TaskRunnerTest, APausedTaskStandsStillAndClaimsNoRange) {
  view_.ranges = {range_on(1, {5, 2, 1}, 100), range_on(2, {1, 2, 3}, 100)};
  view_.nodes[4].membership = Membership::kDecommissioning;
  begin(1, {5});
  store(1, stored(1), meta::TaskState::kPaused);
  runner_.start();
  loop_.advance(20s);
  EXPECT_TRUE(orders_.empty() && steps_.empty() && stalls_.empty());
  runner_.claim(view_);
  EXPECT_FALSE(view_.ranges[0].in_task) << "somebody has to repair it";
  steps_taken_ = false;
  store(1, stored(1));
  loop_.advance(1s);
  runner_.claim(view_);
  EXPECT_TRUE(view_.ranges[0].in_task);
  EXPECT_FALSE(view_.ranges[1].in_task);
}

TEST_F(TaskRunnerTest, AStallIsToldOnceWithinTenSecondsAndSoIsItsEnd) {
  view_ = cluster_of(3);
  view_.ranges = {range_on(1, {3, 2, 1}, 100)};
  begin(1, {3});
  runner_.start();
  loop_.advance(10s);
  EXPECT_EQ(stalls_, std::vector{StallReason::kNotEnoughNodes});
  loop_.advance(10s);
  EXPECT_EQ(stalls_.size(), 1U);
  proto::TaskStatus status = describe(tasks_.at(1)->value, view_);
  EXPECT_TRUE(runner_.describe(1, status));
  EXPECT_EQ(status.stall().reason(), "not enough nodes");
  ASSERT_EQ(status.nodes_size(), 1);
  EXPECT_EQ(status.nodes(0).stage(), "moving");
  EXPECT_EQ(status.nodes(0).membership(), "decommissioning");
  EXPECT_EQ(status.nodes(0).blocker(), status.stall().why());
  view_.nodes.push_back(placement::testing::node_at(4));
  EXPECT_TRUE(loop_.advance_until([&] { return stored(1).over(); }, 60s));
  EXPECT_EQ(stalls_, (std::vector{StallReason::kNotEnoughNodes, StallReason::kNone}));
}

TEST_F(TaskRunnerTest, AWishToStayIsFollowedAtAnyTime) {
  steps_taken_ = false;
  view_.ranges = {range_on(1, {5, 2, 1}, 100)};
  begin(1, {5});
  runner_.start();
  loop_.advance(3s);
  store(1, ask_to_stay(stored(1), std::vector{NodeId(5)}).value());
  EXPECT_TRUE(loop_.advance_until([&] { return stored(1).over(); }, 20s));
  EXPECT_EQ(membership(5), Membership::kActive);
  EXPECT_EQ(outcome_of(stored(1)), "node 5 recommissioned");
}

TEST_F(TaskRunnerTest, WhatTheRecordSaysIsSettledIsNeverShownOtherwise) {
  steps_taken_ = false;
  view_.ranges = {range_on(1, {5, 2, 1}, 100)};
  begin(1, {5, 6});
  runner_.start();
  loop_.advance(3s);
  DecommissionRecord record = stored(1);
  record.find(NodeId(5))->settled = true;
  store(1, record);
  proto::TaskStatus status = describe(tasks_.at(1)->value, view_);
  EXPECT_TRUE(runner_.describe(1, status)) << "it has not looked since";
  EXPECT_EQ(status.nodes(0).stage(), "settled");
  EXPECT_EQ(status.nodes(0).replicas(), 0U);
}

TEST(TaskWishes, PauseResumeAndCancelAreRepeatable) {
  using proto::TasksRequest;
  DecommissionRecord record;
  record.nodes = {{.node = NodeId(4), .settled = true}, {.node = NodeId(5)}};
  meta::TaskRecord task{.id = 9, .kind = std::string(meta::kDecommissionTask), .body = encode(record)};
  const auto paused = after_wish(task, TasksRequest::PAUSE).value();
  EXPECT_EQ(paused.state, meta::TaskState::kPaused);
  EXPECT_EQ(after_wish(paused, TasksRequest::PAUSE).value(), paused);
  EXPECT_EQ(after_wish(paused, TasksRequest::RESUME).value(), task);
  const auto cancelled = after_wish(paused, TasksRequest::CANCEL).value();
  EXPECT_EQ(cancelled.state, meta::TaskState::kRunning) << "until its nodes are back";
  const auto now = lifecycle::decode_decommission_record(cancelled.body).value();
  EXPECT_TRUE(now.find(NodeId(4))->leave);
  EXPECT_FALSE(now.find(NodeId(5))->leave);
  EXPECT_EQ(after_wish(cancelled, TasksRequest::CANCEL).value(), cancelled);
  task.state = meta::TaskState::kCompleted;
  EXPECT_EQ(after_wish(task, TasksRequest::CANCEL).error().code, Errc::kInvalidState);
}

TEST(ReplicaSizes, ARangeIsAsLargeAsItsLeaseholderSaysAndLearnersAsFarAsTheySay) {
  placement::ClusterView view = cluster_of(4);
  view.ranges = {range_on(1, {1, 2}), range_on(2, {3, 2})};
  placement::RangeConfig& first = view.ranges[0];
  first = add_learner(first, NodeId(3), "s3").value();
  Survey seen;
  const auto say = [&](std::uint32_t node, std::uint64_t range, std::uint64_t bytes) -> proto::ReplicaState& {
    auto& state = *seen.answers[NodeId(node)].add_replicas();
    state.set_range(range);
    state.set_file_bytes(bytes);
    return state;
  };
  say(1, 1, 1000);
  say(2, 1, 700);
  say(2, 2, 300);
  proto::ReplicaState& learner = say(3, 1, 0);
  learner.set_replica(first.find_learner(NodeId(3))->replica.value);
  learner.set_role("opening");
  const auto received = [&] {
    for (auto& range : view.ranges) range.received.clear();
    fill_sizes(view, seen);
    return view.ranges[0].received.at(0);
  };
  EXPECT_TRUE(received().queued) << "it is only being made";
  EXPECT_EQ(received().bytes, 0U);
  learner.set_role("learner");
  EXPECT_EQ(view.ranges[0].bytes, 1000U);
  EXPECT_EQ(view.ranges[1].bytes, 300U) << "its leaseholder did not answer";
  learner.set_file_bytes(400);
  EXPECT_EQ(received().bytes, 400U);
  EXPECT_FALSE(received().queued);
  seen.answers[NodeId(1)].mutable_replicas(0)->add_copies_in_line(3);
  EXPECT_TRUE(received().queued) << "a new leaseholder sends others first";
  learner.set_end_lsn(17);
  EXPECT_FALSE(received().queued);
  EXPECT_EQ(received().bytes, 1000U) << "it has the snapshot, and lacks commits only";
  learner.set_replica(99);
  for (auto& range : view.ranges) range.received.clear();
  fill_sizes(view, seen);
  EXPECT_TRUE(view.ranges[0].received.empty()) << "another replica's";
}

}  // namespace
}  // namespace outlast::server
