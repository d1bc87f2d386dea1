#include "cli/demo/roles/exits.h"

#include <gtest/gtest.h>

#include <map>

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
using enum NodeRole;

class RolesExitsTest : public testing::Test {
 protected:
  RolesExits::Ports ports() {
    return {.prepared = [this](const ExitTurn&) { return prepared_; },
            .queries = [] { return std::size_t{3}; },
            .stop = [this](const ExitTurn& turn) -> Result<void> {
              stopped_.push_back(turn.node);
              return refuses_ ? Result<void>(Error(Errc::kUnavailable, "no")) : Result<void>();
            },
            .stopped = [this] { return exit_code_; },
            .shown = [this](const ExitTurn&) -> std::optional<NodeShown> {
              if (!code_) return std::nullopt;
              return NodeShown{*code_, 2};
            },
            .unhealthy = [this](int) { return unhealthy_; },
            .running = [this](int) { return running_; },
            .start = [this](int) -> Result<void> {
              running_ = true;
              return {};
            },
            .ready = [this](int) { return running_; },
            .healed = [this] { return healed_; },
            .leader = [this] { return leader_; },
            .take_receipt = [](ExitTurn& turn) { turn.work = ExitWork{.finished = 2}; },
            .say = [](const std::string&) {}};
  }
  void tick() { exits_.step(now_ += 1s); }
  /// One whole turn as it should be.
  void leave_and_return() {
    tick(), tick();  // prepared, told
    code_ = "SHUTDOWN";
    tick();
    code_ = "DISCONNECTED", running_ = false, exit_code_ = 0;
    tick();
    exit_code_.reset();
    tick();  // ready
    code_ = "OK";
    tick();
  }

  std::vector<NodeRole> roles_{kFrontend, kFrontend, kBackend, kCompute};
  std::vector<int> stopped_;
  std::optional<int> exit_code_, leader_{0};
  std::optional<std::string> code_{"OK"};
  bool prepared_{true}, unhealthy_{false}, running_{true}, healed_{true}, refuses_{false};
  RolesExits exits_{roles_, roles_plan(20s), ports()};
  Duration now_{0};
};

TEST_F(RolesExitsTest, EveryNodeLeavesAndReturnsTheLeaderLast) {
  for (int i = 0; i < 3; ++i) leave_and_return();
  unhealthy_ = true;
  leave_and_return();
  tick();
  EXPECT_TRUE(exits_.finished());
  EXPECT_EQ(exits_.trouble(), "");
  EXPECT_EQ(stopped_, (std::vector<int>{3, 2, 1, 0}));
  const ExitTurn& compute = exits_.turns()[0];
  EXPECT_TRUE(compute.with_long);
  EXPECT_TRUE(compute.seen_leaving());
  EXPECT_EQ(compute.codes, (std::vector<std::string>{"SHUTDOWN", "DISCONNECTED", "OK"}));
  EXPECT_EQ(compute.work->finished, 2U);
  EXPECT_EQ(compute.running, 2U);
  EXPECT_FALSE(exits_.turns()[1].with_long) << "a short run has time for one whole window";
  EXPECT_FALSE(exits_.turns()[2].leader);
  EXPECT_TRUE(exits_.turns()[3].leader);
  EXPECT_TRUE(exits_.turns()[3].unhealthy);
}

TEST_F(RolesExitsTest, TheNextLeaderIsTheOneThatCounts) {
  roles_ = {kFrontend, kFrontend};
  RolesExits exits(roles_, roles_plan(20s), ports());
  exits.step(1s);
  EXPECT_EQ(exits.current()->node, 1);
  leader_ = 1;
  RolesExits others(roles_, roles_plan(20s), ports());
  others.step(1s);
  EXPECT_EQ(others.current()->node, 0);
}

TEST_F(RolesExitsTest, WaitsForQueriesAndForNodesToHeal) {
  healed_ = false;
  tick(), tick();
  EXPECT_EQ(exits_.current(), nullptr);
  healed_ = true, prepared_ = false;
  tick(), tick(), tick();
  EXPECT_NE(exits_.current(), nullptr);
  EXPECT_TRUE(stopped_.empty());
}

TEST_F(RolesExitsTest, WaitsForALeader) {
  leader_.reset();
  tick(), tick();
  EXPECT_EQ(exits_.current(), nullptr);
}

TEST_F(RolesExitsTest, DisconnectedAloneIsNoProof) {
  ExitTurn turn{.codes = {"OK", "DISCONNECTED", "SHUTDOWN"}};
  EXPECT_FALSE(turn.seen_leaving());
  turn.codes.emplace_back("DISCONNECTED");
  EXPECT_TRUE(turn.seen_leaving());
}

TEST_F(RolesExitsTest, DoesNotWaitForEverToBegin) {
  healed_ = false;
  now_ += 10min;
  tick();
  EXPECT_TRUE(exits_.finished());
  EXPECT_NE(exits_.trouble().find("no node can leave"), std::string::npos) << exits_.trouble();
}

TEST_F(RolesExitsTest, EndsWithTheReason) {
  refuses_ = true;
  tick(), tick();
  EXPECT_TRUE(exits_.finished());
  EXPECT_NE(exits_.trouble().find("node 4 cannot be told to leave: no"), std::string::npos) << exits_.trouble();
}

TEST_F(RolesExitsTest, DoesNotWaitForEver) {
  tick(), tick();
  now_ += 10min;
  tick();
  EXPECT_TRUE(exits_.finished());
  EXPECT_NE(exits_.trouble().find("did not leave"), std::string::npos) << exits_.trouble();
}

}  // namespace
}  // namespace outlast::cli
