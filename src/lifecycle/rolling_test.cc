#include "lifecycle/rolling.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace outlast::lifecycle {
namespace {
using namespace std::chrono_literals;
using End = RollingMachine::Todo::End;
using Kind = RollingOrder::Kind;

/// Five nodes that do what they are told within a second; every write of the record succeeds.
class RollingTest : public testing::Test {
 protected:
  RollingTest() {
    for (std::uint32_t id = 1; id <= 5; ++id) {
      record_.nodes.push_back({.node = NodeId(id)});
      view_.nodes.push_back({.node = NodeId(id),
                             .live = true,
                             .incarnation = Incarnation(1),
                             .leader = id == 1,
                             .leases = 4,
                             .insync = 12});
    }
    view_.live_nodes = 5;
    view_.leases = 20;
    view_.statements.up_to = {{0.001, 0}, {0.01, 0}, {1, 0}, {std::numeric_limits<double>::infinity(), 0}};
    view_.choose = [this](std::vector<NodeId> candidates, const std::vector<NodeId>& absent, std::size_t max) {
      RollingChoice choice;
      if (!unsafe_.empty() || !absent.empty()) {
        choice.why = unsafe_.empty() ? "another one is away" : unsafe_;
        return choice;
      }
      candidates.resize(std::min({candidates.size(), max, together_}));
      choice.nodes = std::move(candidates);
      return choice;
    };
    record_.options.windows = 2;
    begin();
  }
  void begin() { machine_.emplace(record_); }

  RollingNode& node(std::uint32_t id) { return view_.nodes.at(id - 1); }
  const RollingRecord::Node& stored(std::uint32_t id) { return *record_.find(NodeId(id)); }
  /// The statements of a second: so many, most of them within 1 ms and the slow ones within 10.
  void statements(double count, double slow, double very_slow, double errors) {
    auto& up_to = view_.statements.up_to;
    up_to[0].second += count - slow - very_slow;
    up_to[1].second += count - very_slow;
    up_to[2].second += count;
    up_to[3].second += count;
    view_.statements.errors += errors;
  }

  End second() {
    now_ += 1s;
    statements(100, slow_, very_slow_, errors_);
    RollingMachine::Todo todo = machine_->advance(now_, view_);
    view_.paused = view_.paused || todo.end == End::kPause;
    if (todo.end != End::kNone) end_ = todo.end;
    if (todo.write) {
      record_ = *decode_rolling_record(encode(*todo.write));
      EXPECT_EQ(record_, *todo.write);
      machine_->replace(record_);
    }
    for (const RollingOrder& order : todo.orders) carry_out(order);
    return todo.end;
  }
  void carry_out(const RollingOrder& order) {
    orders_.push_back(order);
    RollingNode& seen = node(order.node.value);
    if (order.kind == Kind::kDrain) seen.draining = seen.drained = true;
    if (order.kind == Kind::kUndrain) seen.draining = seen.drained = false;
    if (order.kind == Kind::kRestart && restarts_work_) seen.incarnation = seen.incarnation.next();
    if (order.kind == Kind::kExpect) seen.expected_until_micros = view_.wall_micros + RollingMachine::kAway / 1us;
    machine_->answered(order, std::uint64_t{7}, now_);
  }
  End run(int seconds) {
    End last = End::kNone;
    for (int i = 0; i < seconds && last == End::kNone; ++i) last = second();
    return last;
  }
  int steps(RollingStep step) {
    return static_cast<int>(std::ranges::count(record_.nodes, step, &RollingRecord::Node::step));
  }

  Instant now_{1h};
  RollingView view_;
  RollingRecord record_;
  std::optional<RollingMachine> machine_;
  std::vector<RollingOrder> orders_;
  End end_{End::kNone};
  std::size_t together_{5};
  double slow_{0}, very_slow_{0}, errors_{0};
  std::string unsafe_;
  bool restarts_work_{true};
};

TEST_F(RollingTest, TakesABaselineThenReplacesOneAfterAnotherTheLeaderLast) {
  run(19);
  EXPECT_FALSE(record_.baseline);
  EXPECT_EQ(machine_->stage(), RollingStage::kBaseline);
  EXPECT_TRUE(orders_.empty());
  ASSERT_EQ(run(300), End::kCompleted);
  ASSERT_EQ(orders_.size(), 5U);
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(orders_[i].kind, Kind::kRestart) << "a handover needs no drain";
    EXPECT_EQ(orders_[i].node, NodeId(i == 4 ? 1 : static_cast<std::uint32_t>(i) + 2));
  }
  EXPECT_EQ(record_.batches, 5U);
  EXPECT_EQ(RollingMachine::outcome(record_),
            "5 of 5 nodes restarted in 5 batches; p99 1.0 ms before, 1.0 ms in the worst window");
}

TEST_F(RollingTest, TheBaselineCountsFromNothingWhenNobodyHadAnsweredYet) {
  const auto answered = view_.statements;
  view_.statements = {};
  machine_->advance(now_, view_);
  view_.statements = answered;
  run(20);
  ASSERT_TRUE(record_.baseline);
  EXPECT_EQ(record_.baseline->statements, 2'000);
}

TEST_F(RollingTest, ABatchIsWhatIsSafeAndWasAskedFor) {
  record_.options.batch = 3;
  together_ = 2;
  begin();
  view_.choose = [this](std::vector<NodeId> candidates, const std::vector<NodeId>&, std::size_t max) {
    candidates.resize(std::min({candidates.size(), max, together_}));
    return RollingChoice{.nodes = std::move(candidates), .alone = {}, .why = {}};
  };
  ASSERT_EQ(run(300), End::kCompleted);
  EXPECT_EQ(record_.batches, 3U);
  EXPECT_EQ(RollingMachine::at_once({}, 5), 1U);
  EXPECT_EQ(RollingMachine::at_once({}, 12), 3U);
}

TEST_F(RollingTest, WaitsWhileNobodyMayStop) {
  unsafe_ = "node 2: range 7 has too few";
  run(60);
  EXPECT_TRUE(orders_.empty());
  EXPECT_EQ(machine_->waiting(), "no further node may stop now: node 2: range 7 has too few");
  unsafe_.clear();
  EXPECT_EQ(run(300), End::kCompleted);
}

TEST_F(RollingTest, PausesAfterSlowWindowsInARowAndGoesOn) {
  run(21);
  very_slow_ = 5;
  ASSERT_EQ(run(100), End::kPause);
  EXPECT_EQ(record_.worse_in_a_row, 2U);
  EXPECT_EQ(record_.paused_why,
            "p99 was 1000.0 ms in the last of 2 windows in a row, and 1.0 ms before the first restart");
  const std::size_t ordered = orders_.size();
  run(60);
  EXPECT_EQ(orders_.size(), ordered);
  EXPECT_EQ(machine_->stage(), RollingStage::kPaused);
  very_slow_ = 0;
  view_.paused = false;
  EXPECT_EQ(run(300), End::kCompleted);
  EXPECT_TRUE(record_.paused_why.empty());
}

TEST_F(RollingTest, OneSlowWindowIsNoReason) {
  run(21);
  very_slow_ = 5;
  run(10);
  very_slow_ = 0;
  EXPECT_EQ(run(300), End::kCompleted);
  EXPECT_EQ(record_.worst_p99_ms, 1000);
}

TEST_F(RollingTest, ErrorsPauseAtOnce) {
  run(21);
  errors_ = 1;
  ASSERT_EQ(run(100), End::kPause);
  EXPECT_NE(record_.paused_why.find("statements failed in the last window"), std::string::npos);
}

TEST_F(RollingTest, AFailedRestartPausesAndIsTriedAgain) {
  restarts_work_ = false;
  run(22);
  ASSERT_EQ(stored(2).step, RollingStep::kRestarting);
  run(1);
  EXPECT_EQ(stored(2).restart, 7U);
  node(2).receipt = {.id = 7, .succeeded = false, .why = "the new program does not start"};
  ASSERT_EQ(run(10), End::kPause);
  EXPECT_EQ(record_.paused_why, "node 2: its restart did not take place: the new program does not start");
  node(2).receipt = {};
  restarts_work_ = true;
  view_.paused = false;
  EXPECT_EQ(run(300), End::kCompleted);
}

TEST_F(RollingTest, ANodeThatDoesNotComeBackPauses) {
  run(22);
  node(2).live = false;
  EXPECT_EQ(run(400), End::kPause);
  EXPECT_EQ(orders_.size(), 1U) << "no other one meanwhile";
  node(2).live = true;
  view_.paused = false;
  EXPECT_EQ(run(300), End::kCompleted);
}

TEST_F(RollingTest, WaitsForReplicasAndLeases) {
  run(22);
  node(2).learners = 2;
  node(2).insync = 10;
  run(30);
  EXPECT_EQ(stored(2).step, RollingStep::kReturning);
  EXPECT_EQ(machine_->waiting(), "node 2: 2 replicas catch up");
  node(2).learners = 0;
  node(2).leases = 0;
  run(20);
  EXPECT_EQ(stored(2).step, RollingStep::kReturning);
  EXPECT_EQ(machine_->waiting(), "node 2: it has 0 leases, 3 are to come back");
  run(20);
  EXPECT_EQ(stored(2).step, RollingStep::kDone);
  EXPECT_EQ(stored(2).note, "its leases had not come back after a minute");
}

TEST_F(RollingTest, AbortLetsWhatIsUnderWayComeBack) {
  run(22);
  node(2).live = false;
  record_ = *decode_rolling_record(*ask_to_abort(encode(record_)));
  machine_->replace(record_);
  run(20);
  EXPECT_EQ(end_, End::kNone) << "a node is away";
  node(2).live = true;
  EXPECT_EQ(run(5), End::kAborted);
  EXPECT_EQ(steps(RollingStep::kDone), 1);
  EXPECT_EQ(orders_.size(), 1U);
}

TEST_F(RollingTest, ANodeThatLeavesTheClusterIsLeftOut) {
  node(4).member = false;
  ASSERT_EQ(run(300), End::kCompleted);
  EXPECT_EQ(stored(4).step, RollingStep::kSkipped);
  EXPECT_EQ(orders_.size(), 4U);
}

class RollingCommandTest : public RollingTest {
 protected:
  RollingCommandTest() {
    record_.options.command = "restart {node}";
    begin();
    run(23);
    EXPECT_EQ(stored(2).step, RollingStep::kCommand);
    EXPECT_TRUE(node(2).draining);
  }
  Errc claim(const std::string& token, std::uint64_t beat = 1) {
    const auto next = claim_command(record_, NodeId(2), token, beat);
    if (!next.ok()) return next.error().code;
    machine_->replace(record_ = *next);
    return Errc::kInternal;
  }
  Errc report(const std::string& token, int exit) {
    const auto next = report_command(record_, NodeId(2), token, exit, "no such unit");
    if (!next.ok()) return next.error().code;
    machine_->replace(record_ = *next);
    return Errc::kInternal;
  }
};

TEST_F(RollingCommandTest, WaitsForACommandLineAndThenForTheNode) {
  run(60);
  EXPECT_EQ(stored(2).step, RollingStep::kCommand);
  EXPECT_EQ(machine_->stage(), RollingStage::kCommand);
  claim("a");
  run(1);
  ASSERT_EQ(stored(2).step, RollingStep::kRunning);
  EXPECT_EQ(claim("b"), Errc::kInvalidState);
  node(2).live = false;
  node(2).draining = node(2).drained = false;
  report("a", 0);
  run(30);
  EXPECT_EQ(stored(2).step, RollingStep::kReturning);
  node(2).live = true;
  node(2).incarnation = Incarnation(2);
  run(1);
  EXPECT_EQ(stored(2).step, RollingStep::kDone);
}

TEST_F(RollingCommandTest, AFailedCommandPausesAndTheDrainIsTakenBack) {
  claim("a");
  run(1);
  report("a", 5);
  ASSERT_EQ(run(5), End::kPause);
  EXPECT_EQ(record_.paused_why, "node 2: the command ended with 5: no such unit");
  run(3);
  EXPECT_FALSE(node(2).draining);
  view_.paused = false;
  run(5);
  EXPECT_TRUE(node(2).draining) << "again";
}

TEST_F(RollingCommandTest, ASilentCommandLineLosesItsClaim) {
  claim("a");
  run(1);
  for (std::uint64_t beat = 2; beat < 30; ++beat) {
    claim("a", beat);
    run(3);
  }
  EXPECT_EQ(stored(2).step, RollingStep::kRunning) << "alive";
  run(20);
  EXPECT_EQ(stored(2).step, RollingStep::kCommand);
  EXPECT_EQ(report("a", 0), Errc::kInvalidState);
  claim("b");
  run(1);
  EXPECT_EQ(stored(2).step, RollingStep::kRunning);
}

TEST_F(RollingCommandTest, ANodeIsInMaintenanceWhileItsCommandTakesItAway) {
  EXPECT_EQ(node(2).expected_until_micros, 0) << "not while it drains";
  claim("a");
  run(2);
  const auto first = node(2).expected_until_micros;
  EXPECT_GT(first, 0);
  node(2).live = false;
  report("a", 0);
  run(20);
  EXPECT_EQ(node(2).expected_until_micros, first) << "it is long enough";
  view_.wall_micros += std::chrono::microseconds(6min).count();
  run(20);
  EXPECT_EQ(node(2).expected_until_micros, first + std::chrono::microseconds(6min).count());
}

TEST_F(RollingCommandTest, APauseBacksOutOfWhatHasNotBegun) {
  view_.paused = true;
  run(3);
  EXPECT_EQ(stored(2).step, RollingStep::kPending);
  EXPECT_FALSE(node(2).draining);
  view_.paused = false;
  run(25);
  EXPECT_EQ(stored(2).step, RollingStep::kCommand);
}

TEST_F(RollingCommandTest, ADrainThatAHandoverCarriedOnIsTakenBack) {
  claim("a");
  run(1);
  node(2).incarnation = Incarnation(2);  // it still drains
  report("a", 0);
  run(3);
  EXPECT_FALSE(node(2).draining);
  EXPECT_EQ(stored(2).step, RollingStep::kDone);
}

TEST_F(RollingCommandTest, ACommandThatReplacesNothingIsNoted) {
  claim("a");
  run(1);
  report("a", 0);
  run(40);
  EXPECT_EQ(stored(2).step, RollingStep::kDone);
  EXPECT_EQ(stored(2).note, "the command did not replace its process");
  EXPECT_FALSE(node(2).draining);
}

TEST(RollingRecordTest, BadTextIsAnError) {
  EXPECT_EQ(decode_rolling_record("{").error().code, Errc::kCorrupt);
  EXPECT_EQ(decode_rolling_record("{}").error().code, Errc::kCorrupt);
  EXPECT_EQ(decode_rolling_record(R"({"version":1,"nodes":[7]})").error().code, Errc::kCorrupt);
  EXPECT_EQ(ask_to_abort("7").error().code, Errc::kCorrupt);
}

}  // namespace
}  // namespace outlast::lifecycle
