#include "cli/demo/rolling.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "cli/demo/rolling_report.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;

class RollingRoundsTest : public testing::Test {
 protected:
  RollingRounds rounds_{30s,
                        {.start = [this](RollingKind kind) -> Result<void> {
                           started_.push_back(kind);
                           return {};
                         },
                         .exit_code = [this] { return exit_; },
                         .task = [this]() -> Result<proto::TaskStatus> { return task_; },
                         .processes = [this] { return processes_; },
                         .healed = [this] { return healed_; },
                         .say = [](const std::string&) {}}};
  std::vector<RollingKind> started_;
  std::optional<int> exit_;
  proto::TaskStatus task_;
  std::vector<NodeProcesses> processes_{{10, 11}, {20, 21}};
  bool healed_{true};
};

TEST_F(RollingRoundsTest, RestartsTheClusterInBothWaysUntilTheTimeIsOver) {
  rounds_.step(2s);
  processes_ = {{10, 12}, {20, 22}};
  exit_ = 0;
  rounds_.step(12s);
  rounds_.step(13s);  // healed
  exit_.reset();
  rounds_.step(15s);
  processes_ = {{30, 31}, {40, 41}};
  exit_ = 0;
  rounds_.step(31s);
  rounds_.step(32s);
  rounds_.step(33s);
  EXPECT_TRUE(rounds_.finished());
  EXPECT_EQ(started_, (std::vector{RollingKind::kZeroDowntime, RollingKind::kCommand}));
  EXPECT_EQ(rounds_.turns()[0].replaced, 2);
  EXPECT_EQ(rounds_.turns()[1].replaced, 2);
}

TEST_F(RollingRoundsTest, DoesTheSecondWayAlsoWhenTheFirstTookAllTheTime) {
  rounds_.step(2s);
  exit_ = 0;
  rounds_.step(40s);
  rounds_.step(41s);
  rounds_.step(43s);
  EXPECT_FALSE(rounds_.finished());
  EXPECT_EQ(started_.size(), 2U);
}

TEST_F(RollingRoundsTest, SeesANodeThatWasNotRestartedAsItHasToBe) {
  rounds_.step(2s);
  processes_ = {{10, 11}, {30, 31}};  // the same worker; another supervisor although none was to be stopped
  exit_ = 0;
  rounds_.step(12s);
  EXPECT_EQ(rounds_.turns()[0].replaced, 0);
}

TEST_F(RollingRoundsTest, EndsWithTheReason) {
  rounds_.step(2s);
  exit_ = 3;
  rounds_.step(12s);
  EXPECT_TRUE(rounds_.finished());
  EXPECT_NE(rounds_.trouble().find("code 3"), std::string::npos);
}

TEST_F(RollingRoundsTest, DoesNotWaitForEver) {
  rounds_.step(2s);
  rounds_.step(301s);
  EXPECT_FALSE(rounds_.finished());
  rounds_.step(303s);
  EXPECT_TRUE(rounds_.finished());
  EXPECT_NE(rounds_.trouble(), "");
}

std::vector<RollingTurn> good() {
  RollingTurn turn{.asked = 1s, .over = 9s, .exit_code = 0, .nodes = 5, .replaced = 5};
  turn.receipt.set_state("completed");
  std::vector<RollingTurn> turns(2, turn);
  turns[1].kind = RollingKind::kCommand;
  return turns;
}

TEST(RollingReport, NamesWhatWasNotKept) {
  using Spoil = void (*)(std::vector<RollingTurn>&, ConnectionCounts&);
  const std::pair<Spoil, const char*> all[] = {
      {[](auto& turns, auto&) { turns.pop_back(); }, "command"},
      {[](auto& turns, auto&) { turns.push_back(turns[0]), turns[2].over.reset(); }, "did not end"},
      {[](auto& turns, auto&) { turns[0].receipt.set_state("paused"); }, "is paused"},
      {[](auto& turns, auto&) { turns[1].exit_code = 3; }, "code 3"},
      {[](auto& turns, auto&) { turns[1].replaced = 4; }, "left 1 of 5"},
      {[](auto&, auto& connections) { connections.lost = 1; }, "lost"},
      {[](auto&, auto& connections) { connections.refused = 2; }, "refused"}};
  std::vector<std::string> none;
  rolling_failures(good(), {}, none);
  EXPECT_TRUE(none.empty());
  for (const auto& [spoil, wanted] : all) {
    auto turns = good();
    ConnectionCounts connections;
    spoil(turns, connections);
    std::vector<std::string> why;
    rolling_failures(turns, connections, why);
    ASSERT_EQ(why.size(), 1U) << wanted;
    EXPECT_NE(why[0].find(wanted), std::string::npos) << why[0];
  }
  boost::json::object json;
  add_rolling_fields(good(), 40.5, json);
  EXPECT_EQ(json.at("rounds").as_array().at(1).at("kind"), "command");
  EXPECT_EQ(json.at("longest_pause_ms").to_number<double>(), 40.5);
  EXPECT_NE(rolling_summary(good(), {}).find("5 of 5"), std::string::npos);
}

}  // namespace
}  // namespace outlast::cli
