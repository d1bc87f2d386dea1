// Graceful exits: the drain machine with an ExitPlan (docs/graceful-exit.md).
#include <gtest/gtest.h>

#include "lifecycle/drain.h"

namespace outlast::lifecycle {
namespace {
using namespace std::chrono_literals;
using enum DrainPhase;

class ExitTest : public testing::Test {  // one machine, with time and load that only the test moves
 protected:
  DrainPhase settle() {
    for (DrainPhase before = machine_.phase();; before = machine_.phase())
      if (machine_.advance(now_, settings_, load_) == before) return before;
  }
  DrainPhase after(Duration time) {
    now_ += time;
    return settle();
  }
  void begin(ExitPlan plan) { ASSERT_TRUE(machine_.drain({.ends = true, .exit = plan}, now_).ok()); }
  void begin_frontend_only() {
    ASSERT_TRUE(machine_.drain({.exit = {.frontend = true}, .frontend_only = true}, now_).ok());
  }
  bool refuses(WorkKind kind) const { return machine_.orders().refused.contains(kind); }

  Instant now_{1h};
  DrainSettings settings_;
  DrainLoad load_;
  DrainMachine machine_;
};

TEST_F(ExitTest, ABackendWithoutFragmentsEndsAtOnceWhateverTheOtherSettingsSay) {
  settings_.drain_wait = settings_.connection_wait = settings_.query_wait = 1h;
  begin({.fragments = true});
  EXPECT_TRUE(machine_.orders().ends);
  EXPECT_EQ(settle(), kDrained);
  EXPECT_EQ(machine_.end(), DrainEnd::kComplete);
}

TEST_F(ExitTest, FragmentsGetTheirTimeAndAreEndedAfterIt) {
  load_.fragments = 1;
  begin({.fragments = true});
  EXPECT_EQ(settle(), kFragmentWait);
  EXPECT_TRUE(refuses(WorkKind::kFragment) && refuses(WorkKind::kLoad) && refuses(WorkKind::kJob));
  EXPECT_FALSE(refuses(WorkKind::kStatement)) << "what is led here is served";
  EXPECT_EQ(after(20s - 1ns), kFragmentWait);
  EXPECT_FALSE(machine_.orders().roll_back_foreign);
  EXPECT_TRUE(machine_.orders().shed_leases && machine_.orders().keep_busy) << "a lease that left would end them";
  EXPECT_EQ(after(1ns), kLeaseTransfer);
  EXPECT_TRUE(machine_.orders().roll_back_foreign);
  EXPECT_FALSE(machine_.orders().keep_busy);
  load_.fragments = 0;
  EXPECT_EQ(settle(), kDrained);
}

TEST_F(ExitTest, AFragmentThatEndsInTimeEndsTheWait) {
  load_.fragments = 1;
  begin({.fragments = true});
  EXPECT_EQ(after(7s), kFragmentWait);
  load_.fragments = 0;
  EXPECT_EQ(settle(), kDrained);
}

TEST_F(ExitTest, TheFragmentsTimeIsReadAnewAndZeroIsOff) {
  load_.fragments = 1;
  begin({.fragments = true});
  EXPECT_EQ(after(19s), kFragmentWait);
  settings_.fragments_wait = 600s;
  EXPECT_EQ(after(100s), kFragmentWait);
  settings_.fragments_wait = 0s;
  EXPECT_EQ(settle(), kLeaseTransfer);
}

TEST_F(ExitTest, LeasesAreWaitedForWithoutLimit) {
  load_.leases = 1;
  begin({.fragments = true});
  EXPECT_EQ(after(10h), kLeaseTransfer);
  EXPECT_TRUE(machine_.orders().shed_leases);
  load_.leases = 0;
  EXPECT_EQ(settle(), kDrained);
}

TEST_F(ExitTest, NothingIsRefusedBeforeTheLeaderFrontendKnows) {
  settings_.await_acknowledgement = true;
  load_.fragments = 1;
  begin({.fragments = true});
  EXPECT_EQ(after(5s), kUnready);
  EXPECT_EQ(machine_.blocker(now_, settings_, load_), DrainBlocker::kAcknowledgement);
  EXPECT_TRUE(machine_.orders().refused.empty());
  load_.acknowledged = true;
  EXPECT_EQ(settle(), kFragmentWait);
  EXPECT_TRUE(refuses(WorkKind::kFragment));
  EXPECT_EQ(after(20s - 1ns), kFragmentWait) << "the time of the fragments begins with the refusals";
}

TEST_F(ExitTest, ALeaderFrontendThatIsAwayIsNotWaitedForWithoutEnd) {
  settings_.await_acknowledgement = true;
  begin({.fragments = true});
  EXPECT_EQ(after(15s - 1ns), kUnready);
  EXPECT_EQ(after(1ns), kDrained);
}

TEST_F(ExitTest, ADeadlineCutsTheWaitForTheAcknowledgementToo) {
  settings_.await_acknowledgement = true;
  ASSERT_TRUE(machine_.drain({.deadline = now_ + 5s, .ends = true, .exit = {.fragments = true}}, now_).ok());
  EXPECT_EQ(after(4s - 1ns), kUnready);
  EXPECT_EQ(after(1ns), kDrained);
}

TEST_F(ExitTest, AFullDrainOfAStopWaitsForTheAcknowledgementToo) {
  settings_.await_acknowledgement = true;
  ASSERT_TRUE(machine_.drain({.ends = true}, now_).ok());
  EXPECT_EQ(settle(), kUnready);
  load_.acknowledged = true;
  EXPECT_EQ(settle(), kDrained);
}

TEST_F(ExitTest, AFrontendGivesBalancersTheirTimeThenClosesIdleSessionsAndLetsOthersFinish) {
  load_.connections = 3, load_.transactions = 1;
  load_.office = true;
  begin({.frontend = true});
  EXPECT_EQ(settle(), kUnready);
  EXPECT_FALSE(machine_.orders().ready) << "/api/health says 500 at once";
  EXPECT_TRUE(machine_.orders().resign);
  EXPECT_TRUE(machine_.orders().refused.empty()) << "a balancer still sends clients";
  EXPECT_EQ(after(15s), kTransactionWait);
  EXPECT_TRUE(machine_.orders().close_idle);
  EXPECT_TRUE(refuses(WorkKind::kConnection) && refuses(WorkKind::kLoad));
  load_.connections = 1;
  EXPECT_EQ(after(45s - 1ns), kTransactionWait);
  load_.connections = load_.transactions = 0;
  EXPECT_EQ(settle(), kLeaseTransfer) << "the new leader is waited for";
  load_.office = false;
  EXPECT_EQ(settle(), kDrained);
  EXPECT_EQ(machine_.end(), DrainEnd::kComplete);
}

TEST_F(ExitTest, AFrontendIsForcedToEndAfterItsTimeCountedFromTheBeginning) {
  load_.connections = load_.transactions = 1;
  begin({.frontend = true});
  EXPECT_EQ(after(60s - 1ns), kTransactionWait);
  EXPECT_EQ(after(1ns), kLeaseTransfer);
  EXPECT_TRUE(machine_.orders().close_all);
  load_.connections = load_.transactions = 0;
  EXPECT_EQ(settle(), kDrained);
}

TEST_F(ExitTest, ATimeoutTakesThePlaceOfTheFrontendsTime) {
  load_.connections = load_.transactions = 1;
  ASSERT_TRUE(machine_.drain({.ends = true, .exit = {.frontend = true}, .limit = 120s}, now_).ok());
  EXPECT_EQ(after(15s), kTransactionWait);
  EXPECT_EQ(after(105s - 1ns), kTransactionWait);
  EXPECT_EQ(after(1ns), kLeaseTransfer);
}

TEST_F(ExitTest, AFrontendThatCannotGiveItsOfficeAwayEndsAllTheSame) {
  load_.office = true;
  load_.metadata = false;
  begin({.frontend = true});
  EXPECT_EQ(after(60s), kLeaseTransfer);
  EXPECT_EQ(machine_.blocker(now_, settings_, load_), DrainBlocker::kMetadata);
  EXPECT_EQ(after(load_.tail), kDrained);
  EXPECT_EQ(machine_.end(), DrainEnd::kForced);
}

TEST_F(ExitTest, AProcessWithBothPlansWaitsForBothAndNeverLosesItsLeases) {
  load_.connections = load_.transactions = 1, load_.fragments = 1, load_.leases = 1;
  begin({.frontend = true, .fragments = true});
  EXPECT_EQ(after(15s), kTransactionWait);
  load_.connections = load_.transactions = 0;
  EXPECT_EQ(settle(), kFragmentWait);
  EXPECT_EQ(after(20s), kLeaseTransfer);
  load_.fragments = 0;
  EXPECT_EQ(after(10h), kLeaseTransfer);
  load_.leases = 0;
  EXPECT_EQ(settle(), kDrained);
}

TEST_F(ExitTest, AFrontendThatIsMoreKeepsItsLeasesAndTheWorkOfOthers) {
  load_.connections = 1, load_.office = true, load_.leases = 5, load_.fragments = 2, load_.insync = 3;
  begin_frontend_only();
  EXPECT_EQ(after(15s), kTransactionWait);
  EXPECT_FALSE(machine_.orders().shed_leases || machine_.orders().ends);
  load_.connections = 0, load_.office = false;
  EXPECT_EQ(settle(), kDrained);
  const DrainOrders orders = machine_.orders();
  EXPECT_FALSE(orders.roll_back_foreign || orders.step_out || orders.shed_leases || orders.ready);
  EXPECT_TRUE(refuses(WorkKind::kConnection) && refuses(WorkKind::kLoad));
  EXPECT_FALSE(refuses(WorkKind::kFragment) || refuses(WorkKind::kJob));
  ASSERT_TRUE(machine_.undrain(now_).ok());
  EXPECT_TRUE(machine_.orders().ready);
}

TEST_F(ExitTest, AStopAfterTheFrontendHasLeftBeginsAnew) {
  begin_frontend_only();
  EXPECT_EQ(after(15s), kDrained);
  load_.leases = 1;
  const DrainRequest stop{.ends = true};
  EXPECT_TRUE(machine_.begins(stop));
  ASSERT_TRUE(machine_.drain(stop, now_).ok());
  EXPECT_EQ(settle(), kLeaseTransfer);
  EXPECT_TRUE(machine_.orders().shed_leases);
  EXPECT_EQ(machine_.drain({.exit = {.frontend = true}, .frontend_only = true}, now_).error().code,
            Errc::kInvalidState);
}

TEST_F(ExitTest, APlanAskedForDuringADrainIsAddedToIt) {
  settings_.query_wait = 1h;
  load_.fragments = 1;
  ASSERT_TRUE(machine_.drain({}, now_).ok());
  EXPECT_EQ(after(1min), kFragmentWait);
  begin({.fragments = true});
  EXPECT_TRUE(machine_.orders().ends);
  EXPECT_EQ(after(20s - 1ns), kFragmentWait);
  EXPECT_EQ(after(1ns), kLeaseTransfer);
}

}  // namespace
}  // namespace outlast::lifecycle
