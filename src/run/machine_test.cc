#include "run/machine.h"

#include <gmock/gmock.h>

#include <csignal>

namespace outlast::run {
namespace {
using namespace std::chrono_literals;
using Kind = Action::Kind;

constexpr Ending kKilled{true, SIGKILL}, kFailed{false, 1}, kFine{false, 0}, kTerminated{true, SIGTERM};

/// Drives the machine and reads its orders as short words.
class MachineTest : public testing::Test {
 protected:
  void SetUp() override {
    machine_.begin(now_);
    run();
  }
  void use(Settings settings) {
    machine_ = Machine(settings);
    words_.clear();
    SetUp();
  }
  /// Takes the orders; processes get pid 100 + number.
  void run() {
    for (auto actions = machine_.take(); !actions.empty(); actions = machine_.take())
      for (const Action& a : actions) note(a);
  }
  void note(const Action& a) {
    const std::string n = std::to_string(a.process);
    if (a.kind == Kind::kStart) {
      words_ += " start" + n;
      machine_.started(a.process, 100 + a.process);
    }
    if (a.kind == Kind::kCheck) words_ += " check";
    if (a.kind == Kind::kEndCheck) words_ += " end-check";
    if (a.kind == Kind::kMeasure) words_ += " measure";
    if (a.kind == Kind::kSignal) words_ += " signal" + n + "=" + std::to_string(a.signal);
    if (a.kind == Kind::kSignalGroup) words_ += " group" + n + "=" + std::to_string(a.signal);
    if (a.kind == Kind::kTell) told_ += a.text.substr(0, a.text.find('\n')) + ";";
    if (a.kind == Kind::kEvent) events_ += a.text + ";";
    if (a.kind == Kind::kReceipt) receipts_.push_back(*a.receipt);
    if (a.kind == Kind::kExit) words_ += " exit" + std::to_string(a.code);
  }
  /// What was ordered since the last call.
  std::string orders() {
    run();
    std::string out = std::exchange(words_, {});
    return out.empty() ? out : out.substr(1);
  }
  void at(Duration later) {
    now_ += later;
    machine_.tick(now_);
  }
  void end(int process, Ending ending) {
    machine_.main_exited(process, ending, now_);
    machine_.gone(process, now_);
  }
  void serve() {
    machine_.ready(1, now_);
    ASSERT_EQ(orders(), "start1");
    ASSERT_EQ(machine_.state(), State::kServing);
  }

  Instant now_{1h};
  Machine machine_{Settings{}};
  std::string words_, told_, events_;
  std::vector<Receipt> receipts_;
};

TEST_F(MachineTest, StopsTheOldProcessOnlyWhenTheNewOneIsReady) {
  serve();
  machine_.reload("SIGUSR2", now_);
  EXPECT_EQ(orders(), "start2");
  now_ += 2s;
  machine_.ready(2, now_);
  EXPECT_EQ(orders(), "measure signal1=15");
  EXPECT_EQ(machine_.serving(), 2);
  EXPECT_TRUE(receipts_.empty());
  now_ += 3s;
  end(1, kFine);
  EXPECT_EQ(orders(), "group1=15");  // in case that some of it is left
  ASSERT_EQ(receipts_.size(), 1U);
  const Receipt& r = receipts_[0];
  EXPECT_EQ(r.outcome, "completed");
  EXPECT_EQ(std::pair(r.from_pid, r.to_pid), std::pair(101, 102));
  EXPECT_EQ(r.ready, 2s);
  EXPECT_EQ(r.left, 3s);
  EXPECT_EQ(r.total, 5s);
  EXPECT_EQ(told_, "STATUS=starting;READY=1;RELOADING=1;READY=1;");
}

TEST_F(MachineTest, RollsBackWhenTheNewProcessDies) {
  serve();
  machine_.reload("SIGHUP", now_);
  EXPECT_EQ(orders(), "start2");
  end(2, kFailed);
  EXPECT_EQ(orders(), "group2=9");
  ASSERT_EQ(receipts_.size(), 1U);
  EXPECT_EQ(receipts_[0].outcome, "rolled_back");
  EXPECT_EQ(receipts_[0].why, "exited with code 1 before it was ready");
  EXPECT_EQ(receipts_[0].failed_process, 2);
  EXPECT_EQ(machine_.serving(), 1);
  EXPECT_EQ(machine_.state(), State::kServing);
}

TEST_F(MachineTest, RollsBackWhenTheNewProcessIsNotReadyInTime) {
  serve();
  machine_.reload("SIGUSR2", now_);
  EXPECT_EQ(machine_.deadline(), now_ + 30s);
  at(29s);
  EXPECT_EQ(orders(), "start2");
  at(1s);
  EXPECT_EQ(orders(), "group2=9");
  EXPECT_EQ(receipts_.at(0).outcome, "rolled_back");
  machine_.ready(2, now_);  // too late
  EXPECT_EQ(machine_.serving(), 1);
  end(2, kKilled);
  EXPECT_EQ(orders(), "");
  EXPECT_EQ(machine_.deadline(), Instant::max());
}

TEST_F(MachineTest, RollsBackWhenTheNewProcessCannotBeStarted) {
  serve();
  machine_.reload("SIGUSR2", now_);
  machine_.take();
  machine_.start_failed(2, "cannot start x", 127, now_);
  EXPECT_EQ(orders(), "");
  EXPECT_EQ(receipts_.at(0).why, "cannot start x");
  EXPECT_EQ(machine_.state(), State::kServing);
}

TEST_F(MachineTest, AStormDuringAReloadIsExactlyOneMore) {
  serve();
  for (int i = 0; i < 100; ++i) machine_.reload("SIGUSR2", now_);
  EXPECT_EQ(orders(), "start2");
  machine_.ready(2, now_);
  EXPECT_EQ(orders(), "measure signal1=15");
  end(1, kFine);
  EXPECT_EQ(orders(), "group1=15 start3");
  machine_.ready(3, now_);
  end(2, kFine);
  EXPECT_EQ(orders(), "measure signal2=15 group2=15");
  EXPECT_EQ(machine_.state(), State::kServing);
  ASSERT_EQ(receipts_.size(), 2U);
  EXPECT_EQ(receipts_[1].triggers, 99);
  EXPECT_EQ(receipts_[1].by, "again");
}

TEST_F(MachineTest, ATriggerBeforeTheFirstReadyIsServedAfterIt) {
  machine_.reload("SIGUSR2", now_);
  EXPECT_EQ(orders(), "start1");
  machine_.ready(1, now_);
  EXPECT_EQ(orders(), "start2");
}

TEST_F(MachineTest, AFailedCheckStartsNothing) {
  use({.check = true});
  serve();
  machine_.reload("SIGUSR2", now_);
  EXPECT_EQ(orders(), "check");
  machine_.check_ended(false, "exited with code 1", now_);
  EXPECT_EQ(orders(), "");
  EXPECT_EQ(receipts_.at(0).outcome, "refused");
  EXPECT_EQ(receipts_.at(0).failed_process, -1);
  machine_.reload("SIGUSR2", now_);
  EXPECT_EQ(orders(), "check");
  at(30s);
  EXPECT_EQ(orders(), "end-check");
  EXPECT_EQ(receipts_.at(1).outcome, "refused");
  machine_.reload("SIGUSR2", now_);
  machine_.check_ended(true, "", now_);
  EXPECT_EQ(orders(), "check start2");
}

TEST_F(MachineTest, KillsAnOldProcessAfterTheGrace) {
  serve();
  machine_.reload("SIGUSR2", now_);
  machine_.ready(2, now_);
  EXPECT_EQ(orders(), "start2 measure signal1=15");
  EXPECT_EQ(machine_.deadline(), now_ + 30s);
  at(30s);
  EXPECT_EQ(orders(), "group1=9");
  end(1, kKilled);
  orders();
  EXPECT_TRUE(receipts_.at(0).killed);
  EXPECT_EQ(receipts_.at(0).outcome, "completed");
}

TEST_F(MachineTest, WaitsForTheWorkersOfAnOldProcessWithinItsGrace) {
  serve();
  machine_.reload("SIGUSR2", now_);
  machine_.ready(2, now_);
  orders();
  machine_.main_exited(1, kFine, now_);
  EXPECT_EQ(orders(), "group1=15");
  EXPECT_TRUE(receipts_.empty());
  at(10s);
  EXPECT_EQ(orders(), "");
  machine_.gone(1, now_);
  orders();
  EXPECT_FALSE(receipts_.at(0).killed);
}

TEST_F(MachineTest, StartsACrashedServerAgainWithBackOff) {
  serve();
  end(1, kKilled);
  EXPECT_EQ(orders(), "group1=15 start2");
  machine_.ready(2, now_);
  end(2, kKilled);
  EXPECT_EQ(orders(), "group2=15");
  EXPECT_EQ(machine_.state(), State::kWaiting);
  EXPECT_EQ(machine_.deadline(), now_ + 100ms);
  at(100ms);
  EXPECT_EQ(orders(), "start3");
  for (int process = 3; process < 6; ++process) {
    end(process, kFailed);
    at(5s);
  }
  orders();
  EXPECT_NE(events_.find("crash_loop"), std::string::npos);
  EXPECT_NE(told_.find("STATUS=crash loop"), std::string::npos);
}

TEST_F(MachineTest, AReloadEndsTheWaitOfACrashLoop) {
  serve();
  end(1, kKilled);
  machine_.ready(2, now_);
  end(2, kKilled);
  orders();
  machine_.reload("SIGHUP", now_);
  EXPECT_EQ(orders(), "start3");
}

TEST_F(MachineTest, EndsWithAServerThatEndsWell) {
  serve();
  end(1, kFine);
  EXPECT_EQ(orders(), "group1=15 exit0");
  use({.restart = Restart::kAlways});
  serve();
  end(1, kFine);
  EXPECT_EQ(orders(), "group1=15 start2");
  use({.restart = Restart::kNever});
  serve();
  end(1, kKilled);
  EXPECT_EQ(orders(), "group1=15 exit137");
}

TEST_F(MachineTest, GoesOnWithTheNewProcessWhenTheOldOneCrashesMeanwhile) {
  serve();
  machine_.reload("SIGUSR2", now_);
  end(1, kKilled);
  EXPECT_EQ(orders(), "start2 group1=15");
  machine_.ready(2, now_);
  EXPECT_EQ(orders(), "measure");
  EXPECT_EQ(receipts_.at(0).outcome, "completed");
  EXPECT_EQ(machine_.state(), State::kServing);
  machine_.reload("SIGUSR2", now_);
  end(2, kKilled);
  end(3, kFailed);
  EXPECT_EQ(orders(), "start3 group2=15 group3=9 start4");
  EXPECT_EQ(receipts_.at(1).outcome, "rolled_back");
}

TEST_F(MachineTest, StartsAgainWhenTheNewProcessCrashesWhileTheOldOneLeaves) {
  serve();
  machine_.reload("SIGUSR2", now_);
  machine_.ready(2, now_);
  orders();
  machine_.main_exited(2, kKilled, now_);
  EXPECT_EQ(orders(), "group2=15 start3");
  EXPECT_EQ(receipts_.at(0).why, "the new process ended soon after it was ready, and starts again");
  at(30s);
  EXPECT_EQ(orders().find("group1=9"), 0U);  // its grace went on
}

TEST_F(MachineTest, AStopDuringAReloadEndsBoth) {
  serve();
  machine_.reload("SIGUSR2", now_);
  machine_.stop(false, now_);
  EXPECT_EQ(orders(), "start2 signal1=15 group2=9");
  EXPECT_EQ(receipts_.at(0).outcome, "abandoned");
  machine_.reload("SIGUSR2", now_);
  machine_.stop(false, now_);
  EXPECT_EQ(orders(), "");
  end(2, kKilled);
  EXPECT_EQ(orders(), "");
  end(1, kTerminated);
  EXPECT_EQ(orders(), "group1=15 exit0");
  EXPECT_TRUE(told_.ends_with("STOPPING=1;")) << told_;
}

TEST_F(MachineTest, AStopReturnsTheServersCode) {
  serve();
  machine_.stop(false, now_);
  EXPECT_EQ(orders(), "signal1=15");
  end(1, {false, 7});
  EXPECT_EQ(orders(), "group1=15 exit7");
}

TEST_F(MachineTest, ASecondInterruptKillsAndSoDoesTheGrace) {
  serve();
  machine_.stop(true, now_);
  EXPECT_EQ(orders(), "signal1=15");
  machine_.stop(true, now_);
  EXPECT_EQ(orders(), "group1=9");
  end(1, kKilled);
  EXPECT_EQ(orders(), "exit137");
  use({.grace = 5s});
  serve();
  machine_.stop(false, now_);
  at(5s);
  EXPECT_EQ(orders(), "signal1=15 group1=9");
}

TEST_F(MachineTest, AStopBetweenTwoLivesEndsAtOnce) {
  serve();
  end(1, kKilled);
  end(2, kKilled);
  orders();
  ASSERT_EQ(machine_.state(), State::kWaiting);
  machine_.stop(false, now_);
  EXPECT_EQ(orders(), "exit0");
}

TEST_F(MachineTest, AFirstProcessThatCannotBeStartedEndsTheProgram) {
  Machine fresh{Settings{}};
  machine_ = fresh;
  words_.clear();
  machine_.begin(now_);
  machine_.take();
  machine_.start_failed(1, "cannot start x", 127, now_);
  EXPECT_EQ(orders(), "exit127");
}

TEST_F(MachineTest, AFirstProcessThatIsNeverReadyIsStartedAgain) {
  at(30s);
  EXPECT_EQ(orders(), "start1 group1=9");
  end(1, kKilled);
  EXPECT_EQ(orders(), "group1=15 start2");
}

}  // namespace
}  // namespace outlast::run
