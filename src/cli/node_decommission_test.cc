// What `node decommission` and `node recommission` print and return, against a cluster that is a list of answers.
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <deque>
#include <sstream>

#include "cli/command.h"
#include "cli/node_decommission_follow.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;

constexpr const char* kLast =
    "No more data reported on target nodes. Please verify cluster health before removing the nodes.\n";
constexpr const char* kBlocked =
    "ranges blocking decommission detected\n"
    "n4 has 44 replicas blocked with error: \"0 of 1 live stores are able to take a new replica for the range (2 "
    "already "
    "have a voter, 0 already have a non-voter); likely not enough nodes in cluster\"\n"
    "ERROR: Cannot decommission nodes.\n";

/// Both nodes at one instant: `replicas` of node 4, five less of node 5.
proto::TaskStatus task(std::uint64_t replicas, const char* stage = "moving",
                       const char* membership = "decommissioning") {
  proto::TaskStatus t;
  t.set_id(7);
  t.set_kind("decommission");
  t.set_state("running");
  t.set_stage(stage);
  t.set_has_progress(true);
  t.set_started_micros(1'000'000);
  t.set_eta_ms(-1);
  for (const std::uint32_t id : {4, 5}) {
    auto& node = *t.add_nodes();
    node.set_node(id);
    node.set_stage(stage);
    node.set_is_live(true);
    node.set_membership(membership);
    node.set_replicas(id == 5 && replicas >= 5 ? replicas - 5 : replicas);
    node.set_replicas_at_start(39);
    node.set_bytes_at_start(2 << 20);
    t.set_replicas_left(t.replicas_left() + node.replicas());
  }
  return t;
}
proto::TaskStatus settled() {
  auto t = task(0, "settled", "decommissioned");
  t.set_state("completed");
  t.set_ended_micros(129'000'000);
  for (auto& node : *t.mutable_nodes()) node.set_is_draining(true);
  return t;
}

class NodeDecommissionTest : public testing::Test {
 protected:
  NodeDecommissionTest() {
    options_.nodes = {4, 5};
    options_.by = "ann";
    begun_.set_task(7);
    begun_.mutable_preflight()->set_may_begin(true);
    for (const std::uint32_t id : {4, 5}) {
      auto& node = *begun_.add_nodes();
      node.set_id(id);
      node.set_is_live(true);
      node.set_replicas(39);
      node.set_membership("decommissioning");
      node.set_is_decommissioning(true);
    }
    cluster_.mutable_nodes()->CopyFrom(begun_.nodes());
  }
  void answer(proto::TaskStatus t) {
    proto::TasksReply reply;
    *reply.add_tasks() = std::move(t);
    answers_.emplace_back(std::move(reply));
  }
  void silence() { answers_.emplace_back(Error(Errc::kUnavailable, "nobody listens")); }
  void forget() { answers_.emplace_back(proto::TasksReply()); }
  DecommissionPorts ports() {
    return {.decommission = [this](const proto::DecommissionRequest& request) -> Result<proto::DecommissionReply> {
              asked_ = request;
              return begun_;
            },
            .tasks =
                [this](const proto::TasksRequest& request) {
                  asked_of_.push_back(request.task());
                  EXPECT_EQ(request.action(), proto::TasksRequest::LIST);
                  ++looks_;
                  auto next = answers_.front();
                  if (answers_.size() > 1) answers_.pop_front();  // the last one is repeated
                  return next;
                },
            .nodes = [this]() -> Result<proto::NodeStatusReply> {
              ++asked_nodes_;
              if (back_after_ > 0 && asked_nodes_ >= back_after_)
                for (auto& node : *cluster_.mutable_nodes()) node.set_membership(back_to_);
              return cluster_;
            },
            .now = [this] { return now_; },
            .pause = [this](Duration d) { return now_ += std::max<Duration>(d, step_), looks_ >= interrupt_after_; },
            .out = [this](const std::string& text) { out_ += text; },
            .err = [this](const std::string& text) { err_ += text; }};
  }
  int run() { return DecommissionFollow(options_, ports()).run(); }
  bool said(const std::string& part) const { return err_.find(part) != std::string::npos; }
  std::size_t times(const std::string& part) const {
    std::size_t count = 0;
    for (std::size_t at = 0; (at = err_.find(part, at)) != std::string::npos; ++at) ++count;
    return count;
  }

  DecommissionOptions options_;
  proto::DecommissionReply begun_;
  proto::DecommissionRequest asked_;
  proto::NodeStatusReply cluster_;
  std::deque<Result<proto::TasksReply>> answers_;
  Duration now_{0}, step_{1s};
  std::vector<std::uint64_t> asked_of_;
  int looks_{0}, interrupt_after_{1000}, asked_nodes_{0}, back_after_{0};
  std::string back_to_{"active"}, out_, err_;
};

TEST_F(NodeDecommissionTest, PrintsTheTablesThatScriptsKnowAndTheirLastSentence) {
  auto first = task(39);
  for (auto& node : *first.mutable_nodes()) node.set_is_draining(true);
  first.set_bytes_left(1 << 20);
  first.set_bytes_at_start(4 << 20);
  first.set_bytes_per_second(512 << 10);
  first.set_eta_ms(12'400);
  first.set_eta_at_least_ms(2'000);
  first.set_bottleneck("slow target");
  first.set_bottleneck_node(3);
  answer(first);
  auto written = settled();
  written.set_state("running");
  for (auto& node : *written.mutable_nodes()) node.set_stage("finishing");
  answer(written);  // has its table at the end
  answer(settled());
  for (auto& node : *cluster_.mutable_nodes())
    node.set_membership("decommissioned"), node.set_replicas(0), node.set_is_draining(true);
  EXPECT_EQ(run(), kDone);
  EXPECT_EQ(out_, kLast) << "what a script reads from stdout";
  EXPECT_EQ(err_,
            "decommissioning nodes 4, 5 as task 7\n"
            "  id | is_live | replicas | is_decommissioning | membership      | is_draining\n"
            "-----+---------+----------+--------------------+-----------------+--------------\n"
            "  4  | true    | 39       | true               | decommissioning | true\n"
            "  5  | true    | 34       | true               | decommissioning | true\n"
            "(2 rows)\n"
            "73 replicas, 1 MiB of 4 MiB left; 512 KiB a second; about 12s left, at least 2.0s; limited by slow target "
            "(node 3)\n"
            "  id | is_live | replicas | is_decommissioning | membership     | is_draining\n"
            "-----+---------+----------+--------------------+----------------+--------------\n"
            "  4  | true    | 0        | true               | decommissioned | true\n"
            "  5  | true    | 0        | true               | decommissioned | true\n"
            "(2 rows)\n"
            "decommissioned  nodes 4, 5 in 2m8s; 78 replicas (4 MiB) are elsewhere now\n");
  EXPECT_EQ(asked_.action(), proto::DecommissionRequest::BEGIN);
  EXPECT_EQ(asked_.checks(), "enabled");
  EXPECT_EQ(asked_.by(), "ann");
  EXPECT_EQ(std::vector<std::uint32_t>(asked_.nodes().begin(), asked_.nodes().end()),
            (std::vector<std::uint32_t>{4, 5}));
}

TEST_F(NodeDecommissionTest, ShowsDotsWhileNothingChangesAndATableWhenSomethingDoes) {
  for (int i = 0; i < 4; ++i) answer(task(39));
  answer(task(38));
  answer(settled());
  EXPECT_EQ(run(), kDone);
  EXPECT_TRUE(said("time left not known\n...\n  id |")) << err_;
  EXPECT_EQ(times("is_draining\n"), 3U) << err_;
}

TEST_F(NodeDecommissionTest, CountsThatFallAllTheTimeDoNotFloodALog) {
  for (std::uint64_t i = 0; i < 100; ++i) answer(task(1000 - i));
  answer(settled());
  EXPECT_EQ(run(), kDone);
  EXPECT_LT(times("is_draining\n"), 20U);
  EXPECT_GT(times("is_draining\n"), 10U);
}

TEST_F(NodeDecommissionTest, AChangedStateIsShownAtOnce) {
  step_ = 250ms;
  answer(task(3));
  auto draining = task(0, "draining");
  draining.mutable_nodes(0)->set_is_draining(true);
  draining.mutable_nodes(0)->set_blocker("drain, 2 transactions");
  answer(draining);
  answer(settled());
  EXPECT_EQ(run(), kDone);
  EXPECT_TRUE(said("(2 rows)\nno replicas left\n  node 4 is draining, and waits for: drain, 2 transactions\n")) << err_;
}

TEST_F(NodeDecommissionTest, NamesAStallOnceWithItsRangesAndSaysWhenItIsOver) {
  auto stalled = task(39);
  stalled.mutable_stall()->set_reason("disk space");
  stalled.mutable_stall()->set_why("no node has 2.1 GiB free");
  for (std::uint64_t range = 1; range <= 12; ++range) stalled.mutable_stall()->add_ranges(range);
  answer(task(39));
  for (int i = 0; i < 5; ++i) answer(stalled);
  answer(task(38));
  answer(settled());
  EXPECT_EQ(run(), kDone);
  EXPECT_TRUE(
      said("possible decommission stall detected\n"
           "disk space: no node has 2.1 GiB free\n"
           "ranges that have yet to move: r1, r2, r3, r4, r5, r6, r7, r8, r9, r10 and 2 more\n"))
      << err_;
  EXPECT_EQ(times("stall detected"), 1U) << err_;
  EXPECT_EQ(times("the decommission goes on\n"), 1U) << err_;
}

TEST_F(NodeDecommissionTest, ExitsWithoutBeginningWhenTheChecksSayNo) {
  begun_.set_task(0);
  begun_.set_code(std::string(facts(Errc::kInvalidState).name));
  begun_.set_message("the pre-flight checks found ranges that could not move");
  begun_.mutable_preflight()->set_may_begin(false);
  begun_.mutable_preflight()->set_text(kBlocked);
  EXPECT_EQ(run(), kFailed);
  EXPECT_EQ(err_, std::string(kBlocked) + "Failed running \"node decommission\"\n");
  EXPECT_EQ(out_, "");
}

TEST_F(NodeDecommissionTest, TellsTheServersRefusalInItsWords) {
  begun_.set_code(std::string(facts(Errc::kNotFound).name));
  begun_.set_message("there is no node 9");
  begun_.clear_preflight();
  EXPECT_EQ(run(), kFailed);
  EXPECT_EQ(err_, "outlast: there is no node 9\n");
}

TEST_F(NodeDecommissionTest, WarnsAndBeginsAllTheSame) {
  begun_.mutable_preflight()->set_text("warning: n4 is dead\n");
  answer(settled());
  EXPECT_EQ(run(), kDone);
  EXPECT_TRUE(err_.starts_with("warning: n4 is dead\ndecommissioning")) << err_;
}

TEST_F(NodeDecommissionTest, ADryRunChangesNothingAndShowsReadiness) {
  options_.dry_run = true;
  auto& found = *begun_.mutable_preflight();
  found.set_ranges_checked(73);
  found.set_moves(73);
  found.set_bytes(3 << 20);
  for (const std::uint32_t id : {4, 5}) {
    found.add_nodes()->set_node(id);
    found.mutable_nodes(static_cast<int>(id) - 4)->set_readiness("ready");
  }
  for (auto& node : *begun_.mutable_nodes()) node.set_membership("active");
  EXPECT_EQ(run(), kDone);
  EXPECT_EQ(asked_.action(), proto::DecommissionRequest::DRY_RUN);
  EXPECT_EQ(
      out_,
      "  id | is_live | replicas | is_decommissioning | membership | is_draining | readiness | blocking_ranges\n"
      "-----+---------+----------+--------------------+------------+-------------+-----------+------------------\n"
      "  4  | true    | 39       | false              | active     | false       | ready     | 0\n"
      "  5  | true    | 39       | false              | active     | false       | ready     | 0\n"
      "(2 rows)\n"
      "dry run: nothing was changed\n"
      "73 ranges checked; 73 replicas would be copied, 3 MiB\n");
  EXPECT_EQ(looks_, 0);

  found.set_may_begin(false);
  found.set_text(kBlocked);
  out_.clear();
  EXPECT_EQ(run(), kVerdictNegative);
  EXPECT_EQ(err_, kBlocked);
  EXPECT_TRUE(out_.ends_with("dry run: nothing was changed\n73 ranges checked; it would not begin\n")) << out_;
}

TEST_F(NodeDecommissionTest, DoesNotWaitWhenNotAskedTo) {
  options_.wait = false;
  EXPECT_EQ(run(), kDone);
  EXPECT_TRUE(said("  4  | true    | 39       | true               | decommissioning | false\n")) << err_;
  EXPECT_EQ(out_,
            "The decommission of nodes 4, 5 goes on as task 7: `outlast task show 7` says how far it is, `outlast node "
            "decommission 4 5` waits for its end.\n");
  EXPECT_EQ(looks_, 0);
}

TEST_F(NodeDecommissionTest, RepeatingItAfterTheEndIsDoneAtOnce) {
  begun_.set_task(0);
  for (auto& node : *begun_.mutable_nodes()) node.set_membership("decommissioned"), node.set_replicas(0);
  EXPECT_EQ(run(), kDone);
  EXPECT_TRUE(said("nodes 4, 5 are already decommissioned\n")) << err_;
  EXPECT_EQ(out_, kLast);
}

TEST_F(NodeDecommissionTest, CtrlCLeavesTheTaskRunningAndSaysSo) {
  interrupt_after_ = 2;
  answer(task(39));
  EXPECT_EQ(run(), kInterrupted);
  EXPECT_TRUE(
      err_.ends_with("interrupted: the decommission goes on as task 7; `outlast node decommission 4 5` follows it "
                     "again, `outlast node recommission 4 5` takes it back\n"))
      << err_;
  EXPECT_EQ(asked_.action(), proto::DecommissionRequest::BEGIN) << "nothing was taken back";
  EXPECT_EQ(out_, "");
}

TEST_F(NodeDecommissionTest, SilenceIsSaidOnceAndIsNotTheEnd) {
  answer(task(39));
  for (int i = 0; i < 5; ++i) silence();
  answer(task(30));
  answer(settled());
  EXPECT_EQ(run(), kDone);
  EXPECT_EQ(times("no node answers (nobody listens); task 7 goes on without this command; asking again\n"), 1U) << err_;
  EXPECT_EQ(times("the cluster answers again\n"), 1U);
}

TEST_F(NodeDecommissionTest, ATaskWithoutALeaderShowsNoCountsThatNobodyCounted) {
  auto stored = task(0);
  stored.set_has_progress(false);
  for (int i = 0; i < 6; ++i) answer(stored);
  answer(settled());
  EXPECT_EQ(run(), kDone);
  EXPECT_EQ(times("no leader frontend says how far task 7 is"), 1U) << err_;
  EXPECT_EQ(times("is_draining\n"), 1U) << "only the last one";

  answers_.clear(), err_.clear();
  answer(stored);
  answer(task(39));
  answer(settled());
  EXPECT_EQ(run(), kDone);
  EXPECT_EQ(times("no leader frontend"), 0U) << "one that was only just stored: " << err_;
}

TEST_F(NodeDecommissionTest, NoTableBeforeTheNodesAreMarkedAndCounted) {
  answer(task(0, "marking"));
  answer(task(39));
  answer(settled());
  EXPECT_EQ(run(), kDone);
  EXPECT_TRUE(said("as task 7\n  id |")) << err_;
  EXPECT_EQ(times("| 0        | true               | decommissioning"), 0U) << err_;
}

TEST_F(NodeDecommissionTest, SaysThatTheTaskIsPaused) {
  auto paused = task(39);
  paused.set_state("paused");
  answer(paused);
  answer(paused);
  answer(settled());
  EXPECT_EQ(run(), kDone);
  EXPECT_EQ(times("task 7 is paused: `outlast task resume 7` lets it go on\n"), 1U) << err_;
}

TEST_F(NodeDecommissionTest, SeesThatItWasTakenBack) {
  auto back = task(39);
  back.mutable_nodes(1)->set_stage("settled");
  back.mutable_nodes(1)->set_membership("active");
  answer(task(39));
  answer(back);
  EXPECT_EQ(run(), kFailed);
  EXPECT_TRUE(said("the decommission of node 5 was taken back meanwhile")) << err_;
  EXPECT_EQ(out_, "");

  answers_.clear(), err_.clear();
  back = task(39);
  back.set_state("cancelled");
  answer(back);
  EXPECT_EQ(run(), kFailed);
  EXPECT_TRUE(said("the decommission of nodes 4, 5 was taken back meanwhile")) << err_;
}

TEST_F(NodeDecommissionTest, NeverSaysDoneBeforeEveryNodeIsDecommissioned) {
  auto half = task(0, "finishing");
  half.mutable_nodes(0)->set_membership("decommissioned");
  half.mutable_nodes(0)->set_stage("settled");
  answer(half);
  interrupt_after_ = 3;
  EXPECT_EQ(run(), kInterrupted);
  EXPECT_EQ(out_, "");
}

TEST_F(NodeDecommissionTest, OtherNodesOfTheTaskAreNotWaitedFor) {
  options_.nodes = {4};
  auto half = task(3);
  half.mutable_nodes(0)->set_membership("decommissioned");
  half.mutable_nodes(0)->set_stage("settled");
  answer(half);
  EXPECT_EQ(run(), kDone);
  EXPECT_EQ(out_, kLast);
  EXPECT_FALSE(said("  5  |")) << err_;
}

TEST_F(NodeDecommissionTest, ATaskThatTheNodeHasNotHeardOfYetIsNotForgotten) {
  cluster_.mutable_nodes(0)->set_membership("active");
  forget();
  answer(task(39));
  answer(settled());
  EXPECT_EQ(run(), kDone) << err_;
}

TEST_F(NodeDecommissionTest, AForgottenTaskIsJudgedByTheMembership) {
  answer(task(39));
  forget();
  for (auto& node : *cluster_.mutable_nodes()) node.set_membership("decommissioned"), node.set_replicas(0);
  EXPECT_EQ(run(), kDone);
  EXPECT_EQ(out_, kLast);

  out_.clear(), err_.clear();
  cluster_.mutable_nodes(0)->set_membership("active");
  EXPECT_EQ(run(), kFailed);
  EXPECT_EQ(out_, "");
}

TEST_F(NodeDecommissionTest, FollowsEveryTaskThatItsNodesBelongTo) {
  auto first = task(0, "settled", "decommissioned"), second = task(12);
  first.set_state("completed");
  first.mutable_nodes()->RemoveLast();
  second.set_id(8);
  second.mutable_nodes()->DeleteSubrange(0, 1);
  auto over = second;
  over.set_state("completed");
  over.mutable_nodes(0)->set_membership("decommissioned");
  answer(first);
  answer(second);  // the list of all
  answer(second);
  answer(over);
  cluster_.mutable_nodes(0)->set_membership("decommissioned");
  back_after_ = 2;
  back_to_ = "decommissioned";
  EXPECT_EQ(run(), kDone);
  EXPECT_EQ(asked_of_, (std::vector<std::uint64_t>{7, 0, 8, 8}));
  EXPECT_EQ(out_, kLast);
}

TEST_F(NodeDecommissionTest, NamesWhatADeadNodeMayHaveLost) {
  auto end = settled();
  end.mutable_nodes(0)->set_in_absentia(true);
  end.mutable_nodes(0)->set_is_live(false);
  end.mutable_nodes(0)->set_possible_loss_bytes(312);
  answer(end);
  EXPECT_EQ(run(), kDone);
  EXPECT_TRUE(
      said("warning: node 4 was dead: 312 B in its ingest buffers were not flushed when it was last heard of and "
           "are possibly lost\n"))
      << err_;
}

TEST_F(NodeDecommissionTest, WritesOneObjectALineAndTheEndLast) {
  options_.json = true;
  answer(task(39));
  answer(task(39));
  answer(task(20));
  answer(settled());
  EXPECT_EQ(run(), kDone);
  std::istringstream lines(out_);
  std::vector<boost::json::object> objects;
  for (std::string line; std::getline(lines, line);) objects.push_back(boost::json::parse(line).as_object());
  ASSERT_EQ(objects.size(), 3U) << out_;
  EXPECT_EQ(objects[0].at("replicas_left"), 73);
  EXPECT_EQ(objects[0].at("nodes").as_array()[0].as_object().at("membership"), "decommissioning");
  EXPECT_EQ(objects[2].at("state"), "completed");
  EXPECT_EQ(err_, "");
}

TEST_F(NodeDecommissionTest, RewritesTheProgressInPlaceOnATerminal) {
  options_.terminal = true;
  answer(task(39));
  auto faster = task(39);
  faster.set_bytes_per_second(1 << 20);
  answer(faster);
  answer(settled());
  EXPECT_EQ(run(), kDone);
  EXPECT_TRUE(said("time left not known\n\x1b[1F\x1b[J73 replicas left; 1 MiB a second")) << err_;
}

TEST_F(NodeDecommissionTest, RecommissionWaitsUntilTheNodesAreActiveAndShowsThem) {
  back_after_ = 3;
  answer(task(39, "returning"));
  EXPECT_EQ(recommission(options_, ports()), kDone);
  EXPECT_EQ(asked_.action(), proto::DecommissionRequest::RECOMMISSION);
  EXPECT_EQ(out_,
            "  id | is_live | replicas | is_decommissioning | membership | is_draining\n"
            "-----+---------+----------+--------------------+------------+--------------\n"
            "  4  | true    | 39       | false              | active     | false\n"
            "  5  | true    | 39       | false              | active     | false\n"
            "(2 rows)\n");
  EXPECT_EQ(err_, "");
}

TEST_F(NodeDecommissionTest, RecommissionNamesADrainThatIsNotTheTasks) {
  back_after_ = 1;
  cluster_.mutable_nodes(0)->set_is_draining(true);
  answer(task(39));
  auto over = task(39, "settled", "active");
  over.set_state("cancelled");
  answer(over);
  EXPECT_EQ(recommission(options_, ports()), kDone);
  EXPECT_NE(out_.find("  4  | true    | 39       | false              | active     | true\n"), std::string::npos)
      << out_;
  EXPECT_EQ(err_, "node 4 is drained still: `outlast node undrain 4` lets it serve\n");
}

TEST_F(NodeDecommissionTest, RecommissionOfADecommissionedNodeFails) {
  begun_.set_code(std::string(facts(Errc::kInvalidState).name));
  begun_.set_message("node 4 is decommissioned for good");
  EXPECT_EQ(recommission(options_, ports()), kFailed);
  EXPECT_EQ(err_, "outlast: node 4 is decommissioned for good\n");
}

TEST_F(NodeDecommissionTest, RecommissionSaysWhenItTakesTooLong) {
  answer(task(39, "returning"));
  EXPECT_EQ(recommission(options_, ports()), kFailed);
  EXPECT_EQ(err_,
            "outlast: nodes 4, 5 did not return within 1m; it is wanted, and task 7 goes on: `outlast task show 7`\n");
}

}  // namespace
}  // namespace outlast::cli
