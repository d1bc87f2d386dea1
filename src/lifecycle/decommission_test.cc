#include "lifecycle/decommission.h"

#include <gtest/gtest.h>

namespace outlast::lifecycle {
namespace {
using namespace std::chrono_literals;
using Kind = DecommissionOrder::Kind;
using Orders = std::vector<DecommissionOrder>;
constexpr NodeId kN4(4), kN5(5);

DecommissionRecord task_of(std::initializer_list<NodeId> nodes) {
  DecommissionRecord record;
  record.task = 1;
  record.requested_by = NodeId(1);
  for (const NodeId id : nodes) record.nodes.push_back({.node = id, .replicas_at_start = 10, .bytes_at_start = 1000});
  return record;
}

class DecommissionTest : public testing::Test {  // one task, with time and a cluster that only the test moves
 protected:
  DecommissionTest() {
    for (const NodeId id : {kN4, kN5}) {
      LeavingNode node;
      node.node = id;
      node.replicas = 10;
      view_.nodes.push_back(node);
    }
    view_.copy.bytes_left = 2000;
  }
  Orders after(Duration wait) { return machine_.advance(now_ += wait, view_); }
  LeavingNode& n4() { return view_.nodes[0]; }
  LeavingNode& n5() { return view_.nodes[1]; }
  void mark_both() { n4().decommissioning = n5().decommissioning = true; }
  void empty(LeavingNode& node) { node.replicas = 0, node.drained = node.draining = true; }
  const Obstacle& stall() { return machine_.progress().stall; }

  Instant now_{1h};
  DecommissionView view_;
  DecommissionMachine machine_{task_of({kN4, kN5})};
};

TEST_F(DecommissionTest, MarksMovesDrainsAndFinishesEachNodeAtItsOwnPace) {
  EXPECT_EQ(after(1s), (Orders{{Kind::kMark, kN4}, {Kind::kMark, kN5}}));
  EXPECT_TRUE(machine_.leaving(view_).empty()) << "nothing leaves a node that is not marked";
  mark_both();
  EXPECT_TRUE(after(1s).empty());
  EXPECT_EQ(machine_.leaving(view_), (std::vector{kN4, kN5}));
  n4().replicas = 0;
  EXPECT_EQ(after(1s), (Orders{{Kind::kDrain, kN4}}));
  n4().draining = true;
  EXPECT_TRUE(after(1s).empty());
  n4().drained = true;
  EXPECT_EQ(after(1s), (Orders{{Kind::kFinish, kN4}}));
  n4().decommissioned = true, n4().decommissioning = false;
  EXPECT_EQ(after(1s), (Orders{{Kind::kSettle, kN4}}));
  machine_.replace(DecommissionMachine::settled(machine_.record(), n4()));
  EXPECT_FALSE(machine_.record().over());
  EXPECT_EQ(machine_.progress().stage, DecommissionStage::kMoving) << "that of the slowest node";
}

TEST_F(DecommissionTest, NothingThatIsLeftIsFinal) {
  mark_both();
  empty(n4());
  for (std::uint64_t LeavingNode::* what :
       {&LeavingNode::replicas, &LeavingNode::leases, &LeavingNode::tasks, &LeavingNode::buffers}) {
    n4().*what = 1;
    EXPECT_TRUE(after(10s).empty());
    n4().*what = 0;
  }
  for (bool LeavingNode::* what : {&LeavingNode::last_frontend, &LeavingNode::last_input}) {
    n4().*what = true;
    EXPECT_TRUE(after(10s).empty());
    n4().*what = false;
  }
  n4().presence = LeavingNode::Presence::kSilent;
  EXPECT_TRUE(after(10s).empty()) << "silent is not dead";
  n4().presence = LeavingNode::Presence::kLive;
  EXPECT_EQ(after(10s), (Orders{{Kind::kFinish, kN4}}));
}

TEST_F(DecommissionTest, ADeadNodeIsFinishedInAbsentiaOnceItIsFenced) {
  mark_both();
  n4().replicas = 0, n4().buffers = 500;
  n4().presence = LeavingNode::Presence::kDead;
  EXPECT_TRUE(after(1s).empty());
  n4().fenced = true;
  EXPECT_EQ(after(1s), (Orders{{Kind::kFinish, kN4}})) << "without a drain; its buffers are possibly lost";
  n4().decommissioned = true;
  EXPECT_TRUE(DecommissionMachine::settled(machine_.record(), n4()).find(kN4)->in_absentia);
}

TEST_F(DecommissionTest, RecommissionIsFollowedAtEveryStepUntilItIsFinal) {
  const auto stay = ask_to_stay(machine_.record(), std::vector{kN4}).value();
  machine_.replace(stay);
  EXPECT_EQ(after(1s), (Orders{{Kind::kSettle, kN4}, {Kind::kMark, kN5}}));
  mark_both();
  EXPECT_EQ(after(6s), (Orders{{Kind::kUnmark, kN4}}));
  EXPECT_EQ(machine_.leaving(view_), std::vector{kN5});
  empty(n4());
  n4().decommissioning = false;
  EXPECT_EQ(after(1s), (Orders{{Kind::kUndrain, kN4}}));
  n4().draining = n4().drained = false;
  EXPECT_EQ(after(6s), (Orders{{Kind::kSettle, kN4}}));
  const auto settled = DecommissionMachine::settled(machine_.record(), n4());
  EXPECT_FALSE(settled.find(kN4)->leave);
  EXPECT_EQ(ask_to_leave(settled, std::vector{kN4}).error().code, Errc::kInvalidState);
}

TEST_F(DecommissionTest, WhatIsFinalStaysFinal) {
  n4().decommissioned = true;
  const auto settled = DecommissionMachine::settled(machine_.record(), n4());
  EXPECT_EQ(ask_to_stay(settled, std::vector{kN4}).error().message,
            "node 4 is decommissioned for good; start a new node instead");
  EXPECT_EQ(ask_to_leave(settled, std::vector{kN4}).value(), settled) << "repeating it changes nothing";
  EXPECT_EQ(ask_to_leave(settled, std::vector{NodeId(9)}).error().code, Errc::kNotFound);
}

TEST_F(DecommissionTest, OrdersAreRepeatedOnlyWhenTheyFailedOrWereNotAnswered) {
  EXPECT_EQ(after(1s).size(), 2U);
  EXPECT_TRUE(after(1s).empty());
  machine_.answered({Kind::kMark, kN4}, Error(Errc::kMetaConflict, "somebody else wrote"), now_);
  EXPECT_TRUE(after(DecommissionMachine::kRest - 1ns).empty());
  EXPECT_EQ(after(1ns), (Orders{{Kind::kMark, kN4}}));
  EXPECT_EQ(after(DecommissionMachine::kAnswerLimit).size(), 2U);
}

TEST_F(DecommissionTest, AStallIsNamedWithinTenSecondsAfterAnotherWayWasTried) {
  mark_both();
  view_.obstacles = {{StallReason::kQueued, "enough moves are under way", {RangeId(1), RangeId(2)}},
                     {StallReason::kNotEnoughNodes, "0 of 1 live stores", {RangeId(3)}}};
  after(0s);
  after(DecommissionMachine::kRetry - 1ns);
  EXPECT_FALSE(machine_.should_try_another_way());
  after(1ns);
  EXPECT_TRUE(machine_.should_try_another_way());
  EXPECT_FALSE(machine_.should_try_another_way());
  EXPECT_EQ(stall().reason, StallReason::kNone);
  after(4s);
  EXPECT_EQ(stall().reason, StallReason::kNotEnoughNodes);
  EXPECT_EQ(stall().ranges, std::vector{RangeId(3)});
  view_.copy.bytes_left -= 1;  // a byte arrives
  after(1s);
  EXPECT_EQ(stall().reason, StallReason::kNone);
}

TEST_F(DecommissionTest, AShortCutOfTheMetadataIsNoStall) {
  mark_both();
  after(0s);
  view_.metadata = false;
  after(7s);
  EXPECT_EQ(stall().reason, StallReason::kNone);
  after(2s);
  EXPECT_EQ(stall().reason, StallReason::kMetadata);
}

TEST_F(DecommissionTest, ADrainThatDoesNotEndIsNamedWithWhatBlocksIt) {
  mark_both();
  empty(n4()), empty(n5());
  n4().drained = false, n4().drain_blocker = "transactions";
  n5().last_frontend = true;
  view_.copy.bytes_left = 0;
  after(0s);
  after(9s);
  EXPECT_EQ(stall().reason, StallReason::kDrain);
  EXPECT_EQ(stall().why, "node 4 waits: drain, transactions");
}

TEST_F(DecommissionTest, ASilentNodeIsTheReasonWhyNobodyKnowsThatItsDataIsDeleted) {
  mark_both();
  n4().presence = LeavingNode::Presence::kSilent;
  view_.obstacles = {{StallReason::kDeletion, "the data of a replica that left is not deleted yet", {RangeId(1)}}};
  after(0s);
  after(9s);
  EXPECT_EQ(stall().reason, StallReason::kSilentNode);
  EXPECT_EQ(stall().why, "node 4 waits: it does not answer, and is not dead yet");
  view_.obstacles.push_back({StallReason::kDiskSpace, "disks are too full", {RangeId(2), RangeId(3)}});
  after(1s);
  EXPECT_EQ(stall().reason, StallReason::kDiskSpace);
}

TEST_F(DecommissionTest, WhenNothingIsLeftToCopyNobodyKnowsHowLongTheRestLasts) {
  mark_both();
  view_.copy.bytes_left = 4000;
  after(0s);
  view_.copy.bytes_left = 0;
  after(1s);
  EXPECT_TRUE(machine_.progress().estimate.eta.has_value());
  after(3s);
  EXPECT_FALSE(machine_.progress().estimate.eta.has_value());
}

TEST(DecommissionRecord, ReadsBackWhatItWroteAndRefusesWhatIsWrong) {
  DecommissionRecord record = task_of({kN4, kN5});
  record.nodes[0].leave = false;
  record.nodes[1].settled = record.nodes[1].in_absentia = true;
  const std::string good = encode(record);
  EXPECT_EQ(decode_decommission_record(good).value(), record);
  std::string newer = good;
  newer.insert(1, R"("colour":"blue",)");
  EXPECT_EQ(decode_decommission_record(newer).value(), record);
  for (const char* field : {"task", "version", "requested_by", "started_micros", "checks", "nodes", "node", "leave",
                            "settled", "in_absentia", "replicas_at_start", "bytes_at_start"}) {
    std::string text = good;
    text.replace(text.find("\"" + std::string(field) + "\""), 2, "\"x");
    EXPECT_EQ(decode_decommission_record(text).error().code, Errc::kCorrupt) << field;
  }
  for (std::size_t cut = 0; cut < good.size(); ++cut)
    EXPECT_FALSE(decode_decommission_record(good.substr(0, cut)).ok());
}

TEST(Pace, EstimatesWithinAFifthAfterTheFirstTenth) {
  Pace pace;
  constexpr std::uint64_t kAll = 900'000'000;
  Instant now{1h};
  for (int second = 0; second <= 90; ++second, now += 1s) {  // 10 MB a second, 90 s
    const std::uint64_t left = kAll - 10'000'000ULL * static_cast<std::uint64_t>(second);
    pace.sample(now, {.bytes_left = left, .targets = {{kN4, left / 2}, {kN5, left / 2}}});
    if (second < 9) continue;
    const double truth = 90.0 - second;
    const double said = std::chrono::duration<double>(pace.estimate().eta.value()).count();
    EXPECT_NEAR(said, truth, 0.2 * truth + 0.1) << second;
    EXPECT_EQ(pace.estimate().bottleneck, second < 90 ? Bottleneck::kCopying : Bottleneck::kNone);
  }
}

TEST(Pace, TheFirstInstantIsNoSpeed) {
  CopyLoad load{.bytes_left = 600'000, .senders = {{kN4, 300'000}, {kN5, 300'000}}};
  Pace limited, free;
  for (const auto& [pace, limit] : {std::pair(&limited, 10'000U), std::pair(&free, 0U)}) {
    load.rate_max = limit;
    load.bytes_left = 600'000;
    pace->sample(Instant(1h), load);
    load.bytes_left -= 10;  // connections are being made
    pace->sample(Instant(1h) + 100ms, load);
  }
  ASSERT_TRUE(limited.estimate().eta);
  EXPECT_NEAR(std::chrono::duration<double>(*limited.estimate().eta).count(), 30, 1) << "what the limit says";
  EXPECT_EQ(limited.estimate().bottleneck, Bottleneck::kLimit);
  EXPECT_FALSE(free.estimate().eta);
}

TEST(Pace, WhatComesBeforeTheFirstByteIsNoSlowness) {
  Pace pace;
  for (std::uint64_t tenth = 0; tenth <= 60; ++tenth)  // three seconds in which replicas are made, then 1,000 a second
    pace.sample(Instant(1h) + tenth * 100ms, {.bytes_left = 100'000 - (tenth < 30 ? 0 : (tenth - 30) * 100)});
  ASSERT_TRUE(pace.estimate().eta);
  EXPECT_NEAR(std::chrono::duration<double>(*pace.estimate().eta).count(), 97, 35) << "194 if they counted";
}

TEST(Pace, ATargetWhoseCopiesWaitIsNotSlow) {
  Pace limited, free;
  for (std::uint64_t second = 0; second <= 4; ++second)
    for (const auto& [pace, limit] : {std::pair(&limited, 1'000U), std::pair(&free, 0U)})
      pace->sample(Instant(1h) + second * 1s,
                   {.bytes_left = 600'000 - 1'910 * second,
                    .targets = {{kN4, 300'000 - 1'900 * second}, {kN5, 300'000 - (limit > 0 ? 900 : 10) * second}},
                    .senders = {{NodeId(1), 300'000 - 955 * second}, {NodeId(2), 300'000 - 955 * second}},
                    .rate_max = limit});
  for (const Pace* pace : {&limited, &free}) {
    EXPECT_NE(pace->estimate().bottleneck, Bottleneck::kSlowTarget);
    ASSERT_TRUE(pace->estimate().eta);
    EXPECT_LT(*pace->estimate().eta, 330s) << "600 kB at 2 kB a second";
  }
}

TEST(Pace, NamesTheLimitAndTheSlowTarget) {
  Pace limited, uneven;
  Instant now{1h};
  for (std::uint64_t second = 0; second < 30; ++second, now += 1s) {
    limited.sample(now, {.bytes_left = 6'000 - 20 * second,
                         .targets = {{kN4, 600 - 10 * second}, {kN5, 600 - 10 * second}},
                         .targets_possible = 3,
                         .rate_max = 10});
    uneven.sample(now, {.bytes_left = 6'000 - 110 * second,
                        .targets = {{kN4, 5'800 - 10 * second}, {kN5, 3'200 - 100 * second}}});
  }
  EXPECT_EQ(limited.estimate().bottleneck, Bottleneck::kLimit);
  EXPECT_GE(limited.estimate().at_least, 180s);
  EXPECT_EQ(uneven.estimate().bottleneck, Bottleneck::kSlowTarget);
  EXPECT_EQ(uneven.estimate().node, kN4);
  EXPECT_GT(uneven.estimate().eta.value(), 500s);
}

/// Of a run in which the estimate was 81 s because of the node that had most to send. It took 58 s: what had not begun
/// was handed over.
TEST(Pace, CountsOnWhatABusyNodeHandsOver) {
  Pace pace;
  Instant now{1h};
  constexpr std::uint64_t kMB = 1'000'000, kLimit = 2'121'780;
  for (std::uint64_t second = 0; second <= 7; ++second, now += 1s)
    pace.sample(now, {.bytes_left = (668 - 10 * second) * kMB,
                      .largest_left = 46 * kMB,
                      .targets = {{kN4, 200 * kMB}, {kN5, 200 * kMB}},
                      .senders = {{NodeId(1), (186 - 2 * second) * kMB},
                                  {NodeId(2), (121 - 2 * second) * kMB},
                                  {NodeId(3), (121 - 2 * second) * kMB},
                                  {kN4, (120 - 2 * second) * kMB},
                                  {kN5, (120 - 2 * second) * kMB}},
                      .targets_possible = 3,
                      .rate_max = kLimit});
  const auto eta = std::chrono::duration<double>(pace.estimate().eta.value()).count();
  EXPECT_NEAR(eta, 58.1, 0.2 * 58.1);
  EXPECT_NEAR(std::chrono::duration<double>(pace.estimate().at_least).count(), 598.0 / 5 / 2.12, 1);
}

TEST(Pace, WaitsForTheNodeThatHasMostToSend) {
  Pace pace;
  Instant now{1h};
  for (std::uint64_t second = 0; second < 10; ++second, now += 1s)
    pace.sample(now, {.bytes_left = 1'000 - 20 * second,
                      .largest_left = 700 - 10 * second,
                      .targets = {{kN4, 300}},
                      .senders = {{kN4, 700 - 10 * second}, {kN5, 300 - 10 * second}},
                      .targets_possible = 3,
                      .rate_max = 10});
  EXPECT_EQ(pace.estimate().at_least, 61s);
  EXPECT_EQ(pace.estimate().eta, 61s) << "not 41 s, as if both went on sending until the end";
  EXPECT_EQ(pace.estimate().bottleneck, Bottleneck::kLimit);
  EXPECT_EQ(pace.estimate().node, kN4);
}

TEST(Pace, SaysNothingBeforeItHasMeasured) {
  Pace pace;
  pace.sample(Instant{1h}, {.bytes_left = 100, .targets_possible = 2, .rate_max = 10});
  EXPECT_FALSE(pace.estimate().eta.has_value());
  EXPECT_EQ(pace.estimate().at_least, 5s);
}

}  // namespace
}  // namespace outlast::lifecycle
