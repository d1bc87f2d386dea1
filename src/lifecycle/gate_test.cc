#include "lifecycle/gate.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "lifecycle/signals.h"

namespace outlast::lifecycle {
namespace {

const Error kClosed(Errc::kNotReady, "the node is draining; try another node");

TEST(Gate, CountsEveryEndOnceAndUnderItsOwnName) {
  Gate gate;
  for (const Outcome outcome : kAllOutcomes) {
    auto ticket = gate.admit(WorkKind::kStatement);
    ASSERT_TRUE(ticket.ok());
    ticket->end(outcome);
    ticket->end(Outcome::kFailed);  // only the first word counts
    EXPECT_EQ(gate.ledger().of(WorkKind::kStatement).of(outcome), 1U) << to_string(outcome);
  }
  EXPECT_EQ(gate.ledger().of(WorkKind::kStatement).admitted, 4U);
  EXPECT_EQ(gate.open_work(WorkKind::kStatement), 0U);
  EXPECT_EQ(gate.ledger().of(WorkKind::kLoad), Ledger::Line{});
}

TEST(Gate, ADroppedTicketIsCancelledNotForgotten) {
  Gate gate;
  {
    auto kept = *gate.admit(WorkKind::kFragment);
    Ticket moved = std::move(kept);
    EXPECT_EQ(gate.open_work(WorkKind::kFragment), 1U);
    Ticket other = *gate.admit(WorkKind::kFragment);
    other = std::move(moved);  // what `other` held is dropped
    EXPECT_EQ(gate.ledger().of(WorkKind::kFragment).of(Outcome::kCancelled), 1U);
  }
  EXPECT_EQ(gate.ledger().of(WorkKind::kFragment).of(Outcome::kCancelled), 2U);
  EXPECT_EQ(gate.open_work(WorkKind::kFragment), 0U);
}

TEST(Gate, RefusesWithTheErrorItWasClosedWithAndCountsIt) {
  Gate gate;
  auto early = gate.admit(WorkKind::kConnection);
  gate.close(WorkKind::kConnection, kClosed);
  const auto refused = gate.admit(WorkKind::kConnection);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().sqlstate(), "57P03");
  EXPECT_EQ(facts(refused.error().code).http, 503);
  EXPECT_EQ(refused.error().message, kClosed.message);
  EXPECT_EQ(gate.ledger().of(WorkKind::kConnection).refused, 1U);
  EXPECT_EQ(gate.open_work(WorkKind::kConnection), 1U);  // the early one goes on
  EXPECT_TRUE(gate.admit(WorkKind::kTransaction).ok());  // other kinds do not care
  gate.open(WorkKind::kConnection);
  EXPECT_TRUE(gate.admit(WorkKind::kConnection).ok());
}

TEST(Gate, TheLedgerOfADrainIsWhatHappenedSinceItBegan) {
  Gate gate;
  gate.admit(WorkKind::kLoad)->end(Outcome::kFailed);
  const Ledger before = gate.ledger();
  gate.admit(WorkKind::kLoad)->end(Outcome::kUnknown);
  const Ledger during = gate.ledger().since(before);
  EXPECT_EQ(during.of(WorkKind::kLoad).admitted, 1U);
  EXPECT_EQ(during.of(WorkKind::kLoad).of(Outcome::kUnknown), 1U);
  EXPECT_EQ(during.of(WorkKind::kLoad).of(Outcome::kFailed), 0U);
}

/// What a drain rests on: once close() returned and the count is zero, nothing runs. `inside` is the truth.
TEST(Gate, ZeroAfterCloseMeansThatNothingRuns) {
  for (int round = 0; round < 50; ++round) {
    Gate gate;
    std::atomic<int> inside{0};
    std::atomic<bool> over{false};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&] {
        for (;;) {
          auto ticket = gate.admit(WorkKind::kStatement);
          if (!ticket.ok()) return;
          inside.fetch_add(1);
          EXPECT_FALSE(over.load());
          inside.fetch_sub(1);
          ticket->end(Outcome::kDone);
        }
      });
    while (gate.ledger().of(WorkKind::kStatement).admitted < 100) std::this_thread::yield();
    gate.close(WorkKind::kStatement, kClosed);
    while (gate.open_work(WorkKind::kStatement) != 0) std::this_thread::yield();
    over = true;
    EXPECT_EQ(inside.load(), 0);
    for (auto& thread : threads) thread.join();
    const Ledger::Line line = gate.ledger().of(WorkKind::kStatement);
    EXPECT_EQ(line.admitted, line.of(Outcome::kDone));
    EXPECT_EQ(line.refused, 4U);
  }
}

TEST(Signals, SigtermDrainsOnceAndNeverHurries) {
  EXPECT_EQ(decide(ProcessState::kServing, Signal::kTerm), SignalAction::kGracefulShutdown);
  EXPECT_EQ(decide(ProcessState::kDraining, Signal::kTerm), SignalAction::kIgnore);
  EXPECT_EQ(decide(ProcessState::kStopping, Signal::kTerm), SignalAction::kIgnore);
  EXPECT_EQ(decide(ProcessState::kRestarting, Signal::kTerm), SignalAction::kGracefulShutdown);
}

TEST(Signals, SigintDrainsAndASecondOneEndsAtOnce) {
  EXPECT_EQ(decide(ProcessState::kServing, Signal::kInt), SignalAction::kGracefulShutdown);
  EXPECT_EQ(decide(ProcessState::kDraining, Signal::kInt), SignalAction::kHardExit);
}

TEST(Signals, RestartsCoalesceAndNeverUndoADrain) {
  EXPECT_EQ(decide(ProcessState::kServing, Signal::kUsr2), SignalAction::kRestart);
  EXPECT_EQ(decide(ProcessState::kRestarting, Signal::kUsr2), SignalAction::kRestartAgain);
  EXPECT_EQ(decide(ProcessState::kDraining, Signal::kUsr2), SignalAction::kIgnore);
}

TEST(Signals, TheEndOfSourceOnlyIsNeverTooEarlyAndNeverTooLate) {
  for (const auto state :
       {ProcessState::kStarting, ProcessState::kSourceOnly, ProcessState::kRestarting, ProcessState::kServing})
    EXPECT_EQ(decide(state, Signal::kWinch), SignalAction::kEndSourceOnly);
  EXPECT_EQ(decide(ProcessState::kDraining, Signal::kWinch), SignalAction::kIgnore);
}

TEST(Signals, SourceOnlyIsNoReasonNotToRestartOrReload) {
  EXPECT_EQ(decide(ProcessState::kSourceOnly, Signal::kUsr2), SignalAction::kRestart);
  EXPECT_EQ(decide(ProcessState::kSourceOnly, Signal::kHup), SignalAction::kReload);
}

TEST(Signals, WhatMakesNoSenseNowIsIgnored) {
  EXPECT_EQ(decide(ProcessState::kServing, Signal::kUsr1), SignalAction::kFrontendExit);
  EXPECT_EQ(decide(ProcessState::kDraining, Signal::kUsr1), SignalAction::kIgnore);
  EXPECT_EQ(decide(ProcessState::kDraining, Signal::kHup), SignalAction::kIgnore);
}

}  // namespace
}  // namespace outlast::lifecycle
