// Tables of `node status`, `range ls` and `task`, and who is asked when a node does not answer.
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "cli/any_node.h"
#include "cli/node_status_text.h"
#include "cli/range.h"
#include "cli/task_text.h"
#include "server/json_views.h"

namespace outlast::cli {
namespace {

proto::NodeStatus node(std::uint32_t id) {
  proto::NodeStatus n;
  n.set_id(id);
  n.set_address("localhost:2625" + std::to_string(id));
  n.set_sql_address("localhost:543" + std::to_string(id));
  n.set_build("v1.0");
  n.set_started_at_micros(1'661'998'315'077'340);
  n.set_updated_at_micros(1'661'998'648'000'000);
  n.set_is_available(true);
  n.set_is_live(true);
  n.set_replicas(73);
  n.set_membership("active");
  return n;
}
proto::NodeStatusReply two_nodes() {
  proto::NodeStatusReply reply;
  *reply.add_nodes() = node(1);
  auto& gone = *reply.add_nodes() = node(4);
  gone.set_is_available(false);
  gone.set_is_live(false);
  gone.set_replicas(0);
  gone.set_is_decommissioning(true);
  gone.set_membership("decommissioned");
  gone.set_is_draining(true);
  return reply;
}

TEST(NodeStatusText, HasExactlyTheColumnsThatScriptsKnow) {
  EXPECT_EQ(
      leaving_table(two_nodes(), false).table(),
      "  id | address         | sql_address    | build | started_at                | updated_at          | locality | "
      "is_available | is_live | gossiped_replicas | is_decommissioning | membership     | is_draining\n"
      "-----+-----------------+----------------+-------+---------------------------+---------------------+----------+"
      "--------------+---------+-------------------+--------------------+----------------+--------------\n"
      "  1  | localhost:26251 | localhost:5431 | v1.0  | 2022-09-01 02:11:55.07734 | 2022-09-01 02:17:28 |          | "
      "true         | true    | 73                | false              | active         | false\n"
      "  4  | localhost:26254 | localhost:5434 | v1.0  | 2022-09-01 02:11:55.07734 | 2022-09-01 02:17:28 |          | "
      "false        | false   | 0                 | true               | decommissioned | true\n"
      "(2 rows)\n");
}

TEST(NodeStatusText, AllAddsSizeAndReadiness) {
  auto reply = two_nodes();
  reply.mutable_nodes(0)->set_bytes(3 << 20);
  reply.mutable_nodes(0)->set_readiness("allocation errors");
  reply.mutable_nodes(0)->set_blocking_ranges(44);
  reply.mutable_nodes(0)->set_roles("backend");
  const std::string csv = leaving_table(reply, true).csv();
  EXPECT_NE(csv.find("is_draining,bytes,readiness,blocking_ranges,roles\n"), std::string::npos) << csv;
  EXPECT_NE(csv.find("active,false,3 MiB,allocation errors,44,backend\n"), std::string::npos) << csv;
  EXPECT_NE(csv.find("decommissioned,true,0 B,-,0,\"frontend,backend,compute\"\n"), std::string::npos) << csv;
}

TEST(NodeStatusText, SaysUntilWhenANodeIsUnderMaintenance) {
  auto reply = two_nodes();
  reply.mutable_nodes(0)->set_maintenance_until_micros(1'661'998'648'000'000);
  const std::string table = status_table(reply).table();
  EXPECT_NE(table.find("until 2022-09-01 02:17:28\n"), std::string::npos) << table;
}

TEST(RangeFilter, LeavesOutWhatWasNotAskedFor) {
  proto::RangeStatus range;
  range.set_rf(3);
  for (const std::uint32_t id : {1, 2, 4}) range.add_insync(id);
  range.add_learners(5);
  range.add_removed(6);
  EXPECT_TRUE(RangeFilter{}.admits(range));
  EXPECT_TRUE(RangeFilter{.node = 4}.admits(range));
  EXPECT_TRUE(RangeFilter{.node = 5}.admits(range));
  EXPECT_TRUE(RangeFilter{.node = 6}.admits(range));
  EXPECT_FALSE(RangeFilter{.node = 3}.admits(range));
  EXPECT_FALSE(RangeFilter{.under_replicated = true}.admits(range));
  range.mutable_insync()->RemoveLast();
  EXPECT_TRUE(RangeFilter{.under_replicated = true}.admits(range));
  EXPECT_FALSE(RangeFilter{.in_trouble = true}.admits(range));
  range.set_trouble("nobody leads it");
  EXPECT_TRUE(RangeFilter{.in_trouble = true}.admits(range));
}

class TaskTextTest : public testing::Test {
 protected:
  TaskTextTest() {
    task_.set_id(7);
    task_.set_kind("decommission");
    task_.set_state("running");
    task_.set_stage("moving");
    task_.set_by("ann@here");
    task_.set_started_micros(1'661'998'315'000'000);
    task_.set_has_progress(true);
    task_.set_owner(2);
    task_.set_replicas_left(39);
    task_.set_bytes_left(1 << 20);
    task_.set_bytes_at_start(2 << 20);
    task_.set_eta_ms(61'000);
    auto& leaving = *task_.add_nodes();
    leaving.set_node(4);
    leaving.set_replicas(39);
    leaving.set_is_live(true);
    leaving.set_membership("decommissioning");
  }
  std::string row() const {
    proto::TasksReply reply;
    *reply.add_tasks() = task_;
    const std::string csv = task_table(reply).csv();
    return csv.substr(csv.find('\n') + 1);
  }
  proto::TaskStatus task_;
};

TEST_F(TaskTextTest, SaysWhatItIsHowFarAndWhatItWaitsFor) {
  EXPECT_EQ(task_text(task_),
            "task 7: decommission, running, moving\n"
            "asked for by ann@here\n"
            "started 2022-09-01 02:11:55, run by the leader frontend, node 2\n"
            "  id | is_live | replicas | is_decommissioning | membership      | is_draining\n"
            "-----+---------+----------+--------------------+-----------------+--------------\n"
            "  4  | true    | 39       | true               | decommissioning | false\n"
            "(1 row)\n"
            "39 replicas, 1 MiB of 2 MiB left; about 1m1s left\n");
  EXPECT_EQ(row(), "7,decommission,running,moving,4,2022-09-01 02:11:55,-,\"39 replicas, 1 MiB\",1m1s,ann@here,-\n");
}

TEST_F(TaskTextTest, NamesAStallAndAPause) {
  task_.mutable_stall()->set_reason("not enough nodes");
  task_.mutable_stall()->set_why("3 of 3 nodes have a replica");
  EXPECT_TRUE(row().ends_with("stalls: not enough nodes\n")) << row();
  EXPECT_NE(task_text(task_).find("possible decommission stall detected\nnot enough nodes: 3 of 3"), std::string::npos);
  task_.set_state("paused");
  EXPECT_NE(task_text(task_).find("`outlast task resume 7` lets it go on"), std::string::npos);
}

TEST_F(TaskTextTest, WithoutALeaderItShowsOnlyWhatIsStored) {
  task_.set_has_progress(false);
  EXPECT_TRUE(row().ends_with(",-,-,ann@here,no leader frontend says how far it is\n")) << row();
  EXPECT_EQ(task_text(task_).find("replicas"), std::string::npos) << task_text(task_);
}

TEST_F(TaskTextTest, TheEndIsItsOutcome) {
  task_.set_state("completed");
  task_.set_ended_micros(1'661'998'443'000'000);
  task_.set_outcome("node 4 is decommissioned");
  task_.set_has_progress(false);
  task_.set_owner(0);
  const std::string text = task_text(task_);
  EXPECT_TRUE(
      text.starts_with("task 7: decommission, completed\nasked for by ann@here\nstarted 2022-09-01 02:11:55, ended "
                       "2022-09-01 02:14:03\n"))
      << text;
  EXPECT_TRUE(text.ends_with("node 4 is decommissioned\n")) << text;
  EXPECT_TRUE(row().ends_with("node 4 is decommissioned\n")) << row();
}

TEST_F(TaskTextTest, JsonHasNullForWhatNobodyKnows) {
  task_.set_eta_ms(-1);
  const boost::json::object json = server::to_json(task_);
  EXPECT_TRUE(json.at("eta_ms").is_null());
  EXPECT_TRUE(json.at("ended_at").is_null());
  EXPECT_TRUE(json.at("stall").is_null());
  EXPECT_TRUE(json.at("detail").is_null());
  EXPECT_EQ(json.at("nodes").as_array()[0].as_object().at("replicas"), 39);
}

class AnyNodeTest : public testing::Test {
 protected:
  /// The address that answered; empty when none did.
  std::string ask() {
    const auto reply = any_.ask<std::string>([this](const std::string& address) -> Result<std::string> {
      asked_.push_back(address);
      if (dead_.contains(address)) return Error(why_, "nobody listens");
      return address;
    });
    return reply.ok() ? *reply : "";
  }
  void learn(const std::set<std::uint32_t>& leaving) {
    proto::NodeStatusReply reply;
    for (const std::uint32_t id : {1, 2, 3, 4}) *reply.add_nodes() = node(id);
    reply.mutable_nodes(2)->set_is_live(false);
    any_.learn(reply, leaving);
  }
  std::string told_;
  AnyNode any_{"localhost:26251", [this](const std::string& text) { told_ += text; }};
  std::vector<std::string> asked_;
  std::set<std::string> dead_;
  Errc why_{Errc::kUnavailable};
};

TEST_F(AnyNodeTest, AsksAnotherKnownNodeWhenOneDiesAndSaysSo) {
  learn({4});
  EXPECT_EQ(ask(), "localhost:26251");
  dead_ = {"localhost:26251"};
  EXPECT_EQ(ask(), "localhost:26252");
  EXPECT_EQ(told_, "the node at localhost:26251 does not answer (nobody listens); asking the one at localhost:26252\n");
  EXPECT_EQ(ask(), "localhost:26252");
  EXPECT_EQ(asked_.size(), 4U) << "and stays with it";
  dead_ = {"localhost:26251", "localhost:26252", "localhost:26253", "localhost:26254"};
  EXPECT_EQ(ask(), "");
  dead_ = {"localhost:26252"};
  EXPECT_NE(ask(), "") << "whoever comes back first";
}

TEST_F(AnyNodeTest, SeveralMayBeNamedForTheFirstQuestion) {
  any_ = AnyNode("localhost:26251,localhost:26252", [this](const std::string& text) { told_ += text; });
  dead_ = {"localhost:26251"};
  why_ = Errc::kDeadline;
  EXPECT_EQ(ask(), "localhost:26252") << "the first one hangs";
  learn({});
  EXPECT_EQ(ask(), "localhost:26252");
}

TEST_F(AnyNodeTest, PrefersNodesThatStay) {
  learn({1, 2});
  EXPECT_EQ(ask(), "localhost:26254");
  dead_ = {"localhost:26254"};
  EXPECT_EQ(ask(), "localhost:26251") << "the one that was named still is better than one that is silent";
}

TEST_F(AnyNodeTest, AnAnswerIsAnAnswer) {
  learn({});
  dead_ = {"localhost:26251"};
  why_ = Errc::kInvalidState;
  EXPECT_EQ(ask(), "");
  EXPECT_EQ(asked_.size(), 1U);
  why_ = Errc::kFenced;
  EXPECT_EQ(ask(), "localhost:26252") << "one that was decommissioned knows nothing any more";
}

}  // namespace
}  // namespace outlast::cli
