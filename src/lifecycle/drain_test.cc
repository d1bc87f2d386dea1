#include "lifecycle/drain.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstdlib>

namespace outlast::lifecycle {
namespace {
using namespace std::chrono_literals;
using enum DrainPhase;

class DrainTest : public testing::Test {  // one machine, with time and load that only the test moves
 protected:
  DrainPhase settle() {
    for (DrainPhase before = machine_.phase();; before = machine_.phase())
      if (machine_.advance(now_, settings_, load_) == before) return before;
  }
  void begin(DrainRequest request = {}) { ASSERT_TRUE(machine_.drain(request, now_).ok()); }

  Instant now_{1h};
  DrainSettings settings_;
  DrainLoad load_;
  DrainMachine machine_;
};

TEST_F(DrainTest, AnEmptyNodeIsDrainedAtOnceThroughEveryPhase) {
  begin();
  EXPECT_EQ(settle(), kDrained);
  EXPECT_EQ(machine_.end(), DrainEnd::kComplete);
  ASSERT_EQ(machine_.history().size(), 7U);
  for (std::size_t i = 0; i < 7; ++i) EXPECT_EQ(static_cast<std::size_t>(machine_.history()[i].phase), i + 1);
}

TEST_F(DrainTest, UnreadyLastsItsWholeTimeAndLetsEverybodyIn) {
  settings_.drain_wait = 8s;
  begin();
  now_ += 8s - 1ns;
  EXPECT_EQ(settle(), kUnready);
  EXPECT_FALSE(machine_.orders().ready);
  EXPECT_TRUE(machine_.orders().refused.empty());
  EXPECT_TRUE(machine_.orders().shed_leases);  // from second 0
  EXPECT_EQ(machine_.blocker(now_, settings_, load_), DrainBlocker::kWait);
  now_ += 1ns;
  EXPECT_EQ(settle(), kDrained);
}

TEST_F(DrainTest, ConnectionsMayCloseByThemselvesForTheirTime) {
  settings_.connection_wait = 5s;
  load_.connections = 2;
  begin();
  EXPECT_EQ(settle(), kConnectionWait);
  EXPECT_TRUE(machine_.orders().refused.contains(WorkKind::kConnection));
  EXPECT_FALSE(machine_.orders().refused.contains(WorkKind::kTransaction));
  EXPECT_FALSE(machine_.orders().close_idle);
  load_.connections = 0;  // early exit
  EXPECT_EQ(settle(), kDrained);
}

TEST_F(DrainTest, AHandoverStaysReadyRefusesNobodyAndWaitsForSessionsToMove) {
  settings_.drain_wait = settings_.connection_wait = 1h;  // for balancers: none has to notice
  load_.connections = 3;
  load_.leases = 2;
  begin({.handover = true});
  EXPECT_EQ(settle(), kTransactionWait);
  EXPECT_TRUE(machine_.orders().ready);
  EXPECT_TRUE(machine_.orders().refused.empty());
  EXPECT_TRUE(machine_.orders().shed_leases);
  EXPECT_FALSE(machine_.orders().close_idle);
  load_.connections = 0;
  load_.fragments = 4;  // of the new worker's sessions, as long as the leases are here
  EXPECT_EQ(settle(), kFragmentWait);
  EXPECT_TRUE(machine_.orders().refused.empty());
  load_.leases = 0;
  EXPECT_EQ(settle(), kFragmentWait);
  load_.fragments = 0;
  load_.insync = 1;
  EXPECT_EQ(settle(), kStepOut);
  load_.insync = 0;
  EXPECT_EQ(settle(), kDrained);
  EXPECT_EQ(machine_.end(), DrainEnd::kComplete);
}

TEST_F(DrainTest, AHandoverClosesWhatHasNotMovedAfterItsWait) {
  settings_.handover_wait = 7s;
  load_.connections = 1;
  begin({.handover = true});
  EXPECT_EQ(settle(), kTransactionWait);
  now_ += 7s - 1ns;
  EXPECT_EQ(settle(), kTransactionWait);
  EXPECT_FALSE(machine_.orders().close_all);
  now_ += 1ns;
  EXPECT_NE(settle(), kTransactionWait);
  EXPECT_TRUE(machine_.orders().close_all);
}

TEST_F(DrainTest, AHandoverLeavesLeasesThatNobodyElseCanTakeToTheNewWorker) {
  load_.leases = load_.unmovable_leases = 1;
  load_.fragments = 9;  // never none under load: the new worker's sessions go on here until the range is closed
  begin({.handover = true});
  EXPECT_EQ(settle(), kDrained);
  EXPECT_FALSE(machine_.orders().roll_back_foreign);
}

TEST_F(DrainTest, TransactionsFinishWithinQueryWaitThenTheRestIsClosed) {
  load_.connections = 3;
  load_.transactions = 1;
  begin();
  EXPECT_EQ(settle(), kTransactionWait);
  EXPECT_TRUE(machine_.orders().close_idle);
  EXPECT_FALSE(machine_.orders().close_all);
  now_ += 10s;
  EXPECT_EQ(settle(), kLeaseTransfer);  // no foreign work: the fragment wait ends at once
  EXPECT_TRUE(machine_.orders().close_all);
  EXPECT_EQ(machine_.blocker(now_, settings_, load_), DrainBlocker::kTransactions);
  load_ = {};
  EXPECT_EQ(settle(), kDrained);
}

TEST_F(DrainTest, OtherGatewaysWorkHasAQueryWaitOfItsOwn) {
  load_.foreign_transactions = 1;
  begin();
  EXPECT_EQ(settle(), kFragmentWait);
  EXPECT_TRUE(machine_.orders().refused.contains(WorkKind::kLoad));
  EXPECT_FALSE(machine_.orders().refused.contains(WorkKind::kStatement));
  EXPECT_FALSE(machine_.orders().roll_back_foreign);
  now_ += 10s;
  EXPECT_EQ(settle(), kLeaseTransfer);
  EXPECT_TRUE(machine_.orders().roll_back_foreign);
}

TEST_F(DrainTest, LeasesHoldItOpenWithoutLimit) {
  load_.leases = 7;
  begin();
  EXPECT_EQ(settle(), kLeaseTransfer);
  now_ += 24h;
  EXPECT_EQ(settle(), kLeaseTransfer);
  EXPECT_EQ(machine_.blocker(now_, settings_, load_), DrainBlocker::kLeases);
  load_.metadata = false;
  EXPECT_EQ(machine_.blocker(now_, settings_, load_), DrainBlocker::kMetadata);
  load_ = {.office = true};
  EXPECT_EQ(settle(), kLeaseTransfer);
  load_ = {.insync = 4};
  EXPECT_EQ(settle(), kStepOut);
  EXPECT_TRUE(machine_.orders().step_out);
  EXPECT_EQ(machine_.blocker(now_, settings_, load_), DrainBlocker::kInSync);
}

TEST_F(DrainTest, ASingleReplicaIsNamedAndOnlyForceGivesItUp) {
  load_.leases = load_.unmovable_leases = 2;
  begin();
  EXPECT_EQ(settle(), kLeaseTransfer);
  EXPECT_EQ(machine_.blocker(now_, settings_, load_), DrainBlocker::kSingleReplica);
  begin({.force = true});  // asking again adds the permission
  EXPECT_EQ(settle(), kDrained);
  EXPECT_EQ(machine_.end(), DrainEnd::kForced);
}

TEST_F(DrainTest, ALeaseThatComesBackDuringStepOutIsNoEnd) {
  load_.insync = 1;
  begin();
  EXPECT_EQ(settle(), kStepOut);
  load_ = {.leases = 1};
  EXPECT_EQ(settle(), kStepOut);
  EXPECT_EQ(machine_.blocker(now_, settings_, load_), DrainBlocker::kLeases);
  load_.leases = 0;
  EXPECT_EQ(settle(), kDrained);
}

TEST_F(DrainTest, ADeadlineCutsTheWaitsAndLeavesTimeForTheLeases) {
  settings_.drain_wait = 60s;
  load_ = {.connections = 1, .transactions = 1, .leases = 100, .tail = 4s};
  begin({.deadline = now_ + 30s});
  now_ += 26s - 1ns;
  EXPECT_EQ(settle(), kUnready);
  now_ += 1ns;
  EXPECT_EQ(settle(), kLeaseTransfer);
  begin({.deadline = now_ + 1h});  // a later one does not undo the earlier
  EXPECT_EQ(*machine_.request().deadline, now_ + 4s);
}

TEST_F(DrainTest, SettingsMayChangeInTheMiddle) {
  settings_.drain_wait = 1h;
  begin();
  now_ += 10s;
  EXPECT_EQ(settle(), kUnready);
  settings_.drain_wait = 10s;
  EXPECT_EQ(settle(), kDrained);
}

TEST_F(DrainTest, ARehearsalHandsLeasesAwayAndTakesNothingFromClients) {
  load_ = {.connections = 3, .leases = 2};
  begin({.rehearsal = true});
  now_ += 24h;
  EXPECT_EQ(settle(), kUnready) << "however long it lasts";
  DrainOrders only;
  only.shed_leases = only.resign = true;
  EXPECT_EQ(machine_.orders(), only);
  EXPECT_EQ(machine_.blocker(now_, settings_, load_), DrainBlocker::kLeases);
  EXPECT_FALSE(machine_.wait_until(settings_, load_));
  begin();  // an operator drains it after all
  EXPECT_FALSE(machine_.rehearsing());
  EXPECT_EQ(settle(), kTransactionWait);
  EXPECT_EQ(machine_.drain({.rehearsal = true}, now_).error().code, Errc::kInvalidState);
  ASSERT_TRUE(machine_.undrain(now_).ok());
  begin({.rehearsal = true});
  EXPECT_TRUE(machine_.orders().ready);
}

TEST_F(DrainTest, WhoLeavesClosesItsInputsWithItsDoorsAndFlushesBeforeItIsDrained) {
  settings_.drain_wait = 2s;
  load_ = {.inputs = 3, .buffers = 1};
  begin({.leave = true});
  EXPECT_EQ(settle(), kUnready);
  EXPECT_FALSE(machine_.orders().close_inputs) << "balancers of senders need the time, too";
  now_ += 2s;
  EXPECT_EQ(settle(), kLeaseTransfer) << "what has a wait of its own does not wait for it";
  EXPECT_TRUE(machine_.orders().close_inputs);
  EXPECT_EQ(machine_.blocker(now_, settings_, load_), DrainBlocker::kInputs);
  EXPECT_EQ(load_.remaining(), 4U);
  load_.inputs = 0;
  now_ += 24h;
  EXPECT_EQ(settle(), kLeaseTransfer) << "however long the sink takes nothing";
  EXPECT_EQ(machine_.blocker(now_, settings_, load_), DrainBlocker::kBuffers);
  begin({.force = true});
  EXPECT_EQ(settle(), kLeaseTransfer) << "force gives up leases, no records";
  load_.buffers = 0;
  EXPECT_EQ(settle(), kDrained);
  EXPECT_TRUE(machine_.orders().close_inputs);
  ASSERT_TRUE(machine_.undrain(now_).ok());
  EXPECT_EQ(machine_.orders(), DrainOrders{});
}

TEST_F(DrainTest, AnyOtherDrainLeavesIngestAlone) {
  load_ = {.inputs = 3, .buffers = 1};
  begin();
  EXPECT_EQ(settle(), kDrained);
  EXPECT_FALSE(machine_.orders().close_inputs);
}

TEST_F(DrainTest, LeavingIsAddedToADrainEvenWhenThatIsComplete) {
  load_.inputs = 1;
  begin();
  ASSERT_EQ(settle(), kDrained);
  begin({.leave = true});
  EXPECT_EQ(machine_.phase(), kStepOut) << "out of all in-sync sets it is, and stays";
  EXPECT_EQ(machine_.end(), DrainEnd::kNone);
  EXPECT_EQ(settle(), kStepOut);
  EXPECT_TRUE(machine_.orders().close_inputs);
  EXPECT_TRUE(machine_.orders().step_out);
  EXPECT_FALSE(machine_.orders().may_stop);
  load_.inputs = 0;
  EXPECT_EQ(settle(), kDrained);
  begin({.leave = true});
  EXPECT_EQ(machine_.phase(), kDrained) << "again: nothing";
}

TEST_F(DrainTest, AHandoverKeepsTheInputsOfALeavingNodeClosedAndWaitsForNoBuffer) {
  load_ = {.buffers = 5};
  begin({.leave = true});
  EXPECT_EQ(settle(), kLeaseTransfer);
  begin({.handover = true});
  EXPECT_EQ(machine_.phase(), kUnready);
  EXPECT_TRUE(machine_.orders().close_inputs);
  EXPECT_EQ(settle(), kDrained);
  ASSERT_TRUE(machine_.undrain(now_).ok());
  settings_.drain_wait = 1h;
  begin({.leave = true, .inputs_closed = true});  // the new worker goes on with it
  EXPECT_EQ(settle(), kUnready);
  EXPECT_TRUE(machine_.orders().close_inputs);
}

TEST_F(DrainTest, UndrainReturnsFromEveryPhaseUntilTheProcessStops) {
  for (const DrainPhase wanted :
       {kUnready, kConnectionWait, kTransactionWait, kFragmentWait, kLeaseTransfer, kStepOut}) {
    DrainMachine machine;
    settings_ = {.drain_wait = 1s, .connection_wait = 1s, .query_wait = 1s};
    load_ = {.connections = 1, .transactions = 1, .fragments = 1};
    ASSERT_TRUE(machine.drain({}, now_).ok());
    while (machine.phase() != wanted) {
      now_ += 1s;
      if (machine.phase() == kFragmentWait) load_ = {.insync = 1};
      machine.advance(now_, settings_, load_);
    }
    ASSERT_TRUE(machine.undrain(now_).ok());
    EXPECT_EQ(machine.orders(), DrainOrders{}) << to_string(wanted);
    EXPECT_TRUE(machine.undrain(now_).ok());  // again: nothing
  }
  machine_.stop();
  EXPECT_EQ(machine_.undrain(now_).error().code, Errc::kInvalidState);
  EXPECT_EQ(machine_.drain({}, now_).error().code, Errc::kInvalidState);
}

/// Whatever comes in whatever order: phases only go forward one at a time, `drained` is never said while anything is
/// held that force does not give up, nor while a node that leaves has records of senders, and a wait is never cut short
/// without a deadline.
RC_GTEST_PROP(DrainProperty, NeverCompleteTooEarlyAndNeverSkipsAPhase, ()) {
  DrainMachine machine;
  DrainSettings settings;
  Instant now{1h};
  const auto span = [] { return std::chrono::milliseconds(*rc::gen::inRange(0, 5000)); };
  const auto few = [] { return static_cast<std::uint64_t>(*rc::gen::weightedElement<int>({{6, 0}, {1, 1}, {1, 3}})); };
  const int steps = *rc::gen::inRange(1, 80);
  bool deadline = false;
  for (int i = 0; i < steps; ++i) {
    now += span();
    DrainLoad load{.connections = few(),
                   .transactions = few(),
                   .foreign_transactions = few(),
                   .fragments = few(),
                   .loads = few(),
                   .jobs = few(),
                   .leases = few(),
                   .insync = few(),
                   .inputs = few(),
                   .buffers = few(),
                   .office = few() > 0};
    load.unmovable_leases = std::min(load.leases, few());
    switch (*rc::gen::inRange(0, 12)) {
      case 0:
      case 1: {
        DrainRequest request{.force = *rc::gen::arbitrary<bool>(), .leave = *rc::gen::inRange(0, 3) == 0};
        if (*rc::gen::inRange(0, 4) == 0) request.deadline = now + span(), deadline = true;
        const bool was_leaving = machine.request().leave;
        const DrainPhase was = machine.phase();
        RC_ASSERT(machine.drain(request, now).ok());
        RC_ASSERT(machine.request().leave == (was_leaving || request.leave));
        if (was == kDrained) RC_ASSERT(machine.phase() == (!was_leaving && request.leave ? kStepOut : kDrained));
        continue;
      }
      case 2:
        RC_ASSERT(machine.undrain(now).ok());
        deadline = false;
        continue;
      case 3:
        settings = {.drain_wait = span(), .connection_wait = span(), .query_wait = span()};
        continue;
      default:
        break;
    }
    const DrainPhase before = machine.phase();
    const DrainPhase after = machine.advance(now, settings, load);
    const int step = static_cast<int>(after) - static_cast<int>(before);
    RC_ASSERT(step == 0 || step == 1);
    if (before == kServing) RC_ASSERT(after == kServing);
    if (before == kUnready && step == 1 && !deadline) {
      const Instant since = machine.history()[machine.history().size() - 2].at;
      RC_ASSERT(now - since >= settings.drain_wait);
    }
    if (after == kDrained && before != kDrained) {
      RC_ASSERT(load.work() == 0U);
      RC_ASSERT(!load.office);
      RC_ASSERT(load.insync == 0U);
      RC_ASSERT(!machine.request().leave || (load.inputs == 0U && load.buffers == 0U));
      RC_ASSERT(load.leases == 0U || (machine.request().force && load.leases == load.unmovable_leases));
      RC_ASSERT((machine.end() == DrainEnd::kComplete) == (load.leases == 0U));
    }
    RC_ASSERT(machine.orders().may_stop == (after == kDrained));
    RC_ASSERT(machine.orders().ready == (after == kServing));
    RC_ASSERT(machine.orders().close_inputs == (machine.request().leave && after >= kConnectionWait));
    if (step == 0 && after != kServing && after != kDrained)
      RC_ASSERT(machine.blocker(now, settings, load) != DrainBlocker::kNone);
  }
}

}  // namespace
}  // namespace outlast::lifecycle
