#include "handover/restart_machine.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace outlast::handover {
namespace {
using namespace std::chrono_literals;
using State = HandoverState;
using Do = RestartMachine::Do;
using Who = RestartMachine::Who;

/// A machine with what it said.
struct Driven {
  RestartMachine machine{{}, 0};
  Instant now{1h};
  std::vector<RestartMachine::Action> said;

  void collect() {
    for (const auto& action : machine.take_actions()) said.push_back(action);
  }
  bool did(Do what) const { return std::ranges::count(said, what, &RestartMachine::Action::what) > 0; }
  long count(Do what) const { return std::ranges::count(said, what, &RestartMachine::Action::what); }
  Outcome outcome() const { return machine.record().outcome; }
  /// To the middle of this state, by the shortest way.
  void go(State to) {
    if (to == State::kIdle) return;
    machine.trigger(now, {.by = "a test", .binary = {}});
    if (to == State::kTrial) return collect();
    machine.on_trial(now += 1s, "", true);
    if (to == State::kStandby) return collect();
    machine.on_state(now += 1s, Who::kNew, State::kStandby);
    machine.on_state(now, Who::kOld, State::kSessions);
    if (to == State::kSessions) return collect();
    machine.on_state(now += 1s, Who::kOld, State::kStorageReleased);
    if (to == State::kStorageReleased) return collect();
    machine.on_state(now += 1s, Who::kNew, State::kOwned);
    if (to == State::kOwned) return collect();
    machine.on_death(now += 1s, Who::kOld, "exited with 0");  // kDone is gone through at once
    collect();
  }
};

TEST(RestartMachine, GoesThroughAllStatesAndBackToIdle) {
  Driven d;
  d.go(State::kDone);
  std::vector<State> entered;
  for (const auto& action : d.said)
    if (action.what == Do::kEntered) entered.push_back(action.state);
  EXPECT_EQ(entered, (std::vector{State::kTrial, State::kStandby, State::kSessions, State::kStorageReleased,
                                  State::kOwned, State::kDone, State::kIdle}));
  EXPECT_EQ(d.outcome(), Outcome::kCompleted);
  EXPECT_EQ(d.count(Do::kReceipt), 2);
  EXPECT_EQ(d.machine.record().attempts, 1);
  for (const State state : {State::kTrial, State::kStandby, State::kSessions, State::kStorageReleased, State::kOwned})
    EXPECT_EQ(d.machine.record().spent[static_cast<std::size_t>(state)], 1s) << to_string(state);
}

TEST(RestartMachine, OneMoreFollowsHoweverManyAskedMeanwhile) {
  for (const State state : kAllHandoverStates) {
    Driven d;
    d.go(state);
    const std::uint64_t present = d.machine.record().id;
    const bool busy = d.machine.busy();
    std::uint64_t answered = 0;
    for (int i = 0; i < 100; ++i) {
      const std::uint64_t id = d.machine.trigger(d.now, {.by = std::to_string(i), .binary = {}});
      // The first of an idle machine begins at once.
      if (!busy && i == 0)
        EXPECT_EQ(id, present + 1);
      else
        EXPECT_EQ(id, busy ? present + 1 : present + 2);
      answered = id;
    }
    EXPECT_TRUE(d.machine.queued());
    EXPECT_EQ(d.machine.last_id(), answered) << to_string(state);
  }
}

TEST(RestartMachine, TheQueuedOneBeginsWhenTheLastIsTold) {
  Driven d;
  d.go(State::kOwned);
  d.machine.trigger(d.now, {.by = "again", .binary = "/new"});
  d.machine.on_death(d.now, Who::kOld, "exited with 0");
  EXPECT_EQ(d.machine.record().id, 1U);
  d.machine.begin_queued(d.now);
  EXPECT_EQ(d.machine.record().id, 2U);
  EXPECT_EQ(d.machine.record().request.binary, "/new");
  EXPECT_FALSE(d.machine.queued());
}

/// A8's outcome when the old worker dies in this state.
void check_old_died(State state, Driven& d) {
  switch (state) {
    case State::kStandby:
    case State::kSessions:
      EXPECT_EQ(d.machine.state(), State::kStorageReleased);
      EXPECT_FALSE(d.did(Do::kKillNew));
      d.machine.on_state(d.now, Who::kNew, State::kOwned);
      EXPECT_EQ(d.machine.state(), State::kIdle);
      EXPECT_EQ(d.outcome(), Outcome::kRecovered);
      EXPECT_TRUE(d.machine.record().old_lost);
      return;
    case State::kStorageReleased:
      d.machine.on_state(d.now, Who::kNew, State::kOwned);
      [[fallthrough]];
    case State::kOwned:
      EXPECT_EQ(d.machine.state(), State::kIdle);
      EXPECT_EQ(d.outcome(), Outcome::kCompleted);
      return;
    case State::kIdle:
    case State::kTrial:
    case State::kDone:
      EXPECT_FALSE(d.did(Do::kReceipt) && state == State::kTrial);
      return;
  }
}

TEST(RestartMachine, TheNewWorkersWordTellsWhetherTheOldOneDiedBeforeItsRelease) {
  Driven unheard;  // its end is read after the new worker's word
  unheard.go(State::kSessions);
  unheard.machine.on_owned(unheard.now, true);
  unheard.machine.on_death(unheard.now, Who::kOld, "killed");
  unheard.collect();
  EXPECT_EQ(unheard.outcome(), Outcome::kRecovered);
  EXPECT_TRUE(unheard.machine.record().old_lost);

  Driven released;  // its word that it released was not read before its end
  released.go(State::kSessions);
  released.machine.on_death(released.now, Who::kOld, "killed");
  released.machine.on_owned(released.now, false);
  released.collect();
  EXPECT_EQ(released.outcome(), Outcome::kCompleted);
  EXPECT_FALSE(released.machine.record().old_lost);

  Driven told;  // it told the supervisor and not the new worker
  told.go(State::kStorageReleased);
  told.machine.on_death(told.now, Who::kOld, "killed");
  told.machine.on_owned(told.now, true);
  told.collect();
  EXPECT_EQ(told.outcome(), Outcome::kCompleted);
}

void check_new_died(State state, Driven& d) {
  switch (state) {
    case State::kStandby:
    case State::kSessions:
      EXPECT_EQ(d.machine.state(), State::kIdle);
      EXPECT_EQ(d.outcome(), Outcome::kRolledBack);
      EXPECT_FALSE(d.did(Do::kKillOld));
      return;
    case State::kStorageReleased:
      EXPECT_EQ(d.machine.state(), State::kStorageReleased);
      EXPECT_EQ(d.machine.record().attempts, 2);
      EXPECT_FALSE(d.machine.record().old_binary);
      return;
    case State::kOwned:  // the worker's own matter: started again like any
      EXPECT_EQ(d.machine.state(), State::kOwned);
      return;
    case State::kIdle:
    case State::kTrial:
    case State::kDone:
      EXPECT_FALSE(d.did(Do::kStart) && state == State::kTrial);
      return;
  }
}

TEST(RestartMachine, HasAnOutcomeForEachDeathInEachState) {
  for (const State state : kAllHandoverStates)
    for (const Who who : {Who::kOld, Who::kNew}) {
      SCOPED_TRACE(std::string(to_string(state)) + (who == Who::kOld ? " old" : " new"));
      Driven d;
      d.go(state);
      d.machine.on_death(d.now, who, "killed");
      d.collect();
      if (who == Who::kOld)
        check_old_died(state, d);
      else
        check_new_died(state, d);
    }
}

void check_late(State state, bool old_reads, Driven& d) {
  switch (state) {
    case State::kTrial:
      EXPECT_TRUE(d.did(Do::kEndTrial));
      EXPECT_EQ(d.outcome(), Outcome::kRefused);
      return;
    case State::kStandby:  // the new one never stood by: it is the one that hangs
      EXPECT_TRUE(d.did(Do::kKillNew));
      EXPECT_EQ(d.outcome(), Outcome::kRolledBack);
      return;
    case State::kSessions:
      EXPECT_EQ(d.did(Do::kKillNew), old_reads);
      EXPECT_EQ(d.did(Do::kKillOld), !old_reads);
      EXPECT_EQ(d.outcome(), old_reads ? Outcome::kRolledBack : Outcome::kRecovered);
      return;
    case State::kStorageReleased:
      EXPECT_EQ(d.did(Do::kKillNew), old_reads);
      EXPECT_EQ(d.did(Do::kKillOld), !old_reads);
      EXPECT_EQ(d.machine.record().attempts, old_reads ? 2 : 1);
      return;
    case State::kOwned:
      EXPECT_TRUE(d.did(Do::kKillOld));
      EXPECT_EQ(d.machine.state(), State::kIdle);
      EXPECT_EQ(d.outcome(), Outcome::kCompleted);
      return;
    case State::kIdle:
    case State::kDone:
      EXPECT_FALSE(d.machine.deadline());
      return;
  }
}

TEST(RestartMachine, KillsWhoHangsInEachState) {
  for (const State state : kAllHandoverStates)
    for (const bool old_reads : {true, false}) {
      SCOPED_TRACE(std::string(to_string(state)) + (old_reads ? " old reads" : " old hangs"));
      Driven d;
      d.go(state);
      if (const auto deadline = d.machine.deadline()) {
        d.machine.on_time(*deadline - 1ns, old_reads);
        EXPECT_EQ(d.machine.state(), state) << "too early";
        d.machine.on_time(*deadline, old_reads);
      }
      d.collect();
      check_late(state, old_reads, d);
    }
}

TEST(RestartMachine, AnOldWorkerThatHangsBesideOneThatStandsByIsKilled) {
  Driven d;
  d.go(State::kStandby);
  d.machine.on_state(d.now, Who::kNew, State::kStandby);
  d.machine.on_time(*d.machine.deadline(), false);
  d.collect();
  EXPECT_TRUE(d.did(Do::kKillOld));
  EXPECT_FALSE(d.did(Do::kKillNew));
  EXPECT_EQ(d.machine.state(), State::kStorageReleased);
}

TEST(RestartMachine, AfterTheReleaseTheNewBinaryGetsTwoTriesThenTheOldOneAllOthers) {
  Driven d;
  d.go(State::kStorageReleased);
  for (int failures = 1; failures <= 6; ++failures) {
    d.machine.on_death(d.now += 1s, Who::kNew, "killed");
    if (failures > 2) d.machine.on_time(*d.machine.deadline(), true);
    EXPECT_EQ(d.machine.record().attempts, failures + 1);
    EXPECT_EQ(d.machine.record().old_binary, failures >= 2);
    EXPECT_EQ(d.machine.state(), State::kStorageReleased);
  }
  d.machine.on_state(d.now, Who::kNew, State::kOwned);
  d.machine.on_death(d.now, Who::kOld, "exited with 0");
  EXPECT_EQ(d.outcome(), Outcome::kRecovered);
  EXPECT_EQ(d.machine.record().why, "killed");
}

TEST(RestartMachine, GivesUpWhenBothBinariesSayThatTheyCannot) {
  Driven d;
  d.go(State::kStorageReleased);
  d.machine.on_death(d.now, Who::kNew, "cannot", true);
  EXPECT_TRUE(d.machine.record().old_binary);
  d.machine.on_death(d.now, Who::kNew, "cannot either", true);
  d.collect();
  EXPECT_TRUE(d.did(Do::kGiveUp));
  EXPECT_EQ(d.machine.state(), State::kIdle);
}

void check_stopped(State state, Driven& d) {
  switch (state) {
    case State::kTrial:
      EXPECT_TRUE(d.did(Do::kEndTrial));
      EXPECT_EQ(d.outcome(), Outcome::kRefused);
      break;
    case State::kStandby:
    case State::kSessions:
      EXPECT_TRUE(d.did(Do::kKillNew));
      EXPECT_EQ(d.outcome(), Outcome::kRolledBack);
      break;
    case State::kStorageReleased:
      EXPECT_FALSE(d.did(Do::kStop)) << "nobody could close the store";
      d.machine.on_state(d.now, Who::kNew, State::kOwned);
      [[fallthrough]];
    case State::kOwned:
      d.machine.on_death(d.now, Who::kOld, "exited with 0");
      EXPECT_EQ(d.outcome(), Outcome::kCompleted);
      break;
    case State::kIdle:
    case State::kDone:
      break;
  }
  d.collect();
  EXPECT_EQ(d.count(Do::kStop), 1);
  EXPECT_EQ(d.machine.state(), State::kIdle);
}

TEST(RestartMachine, StopsFromEachState) {
  for (const State state : kAllHandoverStates) {
    SCOPED_TRACE(to_string(state));
    Driven d;
    d.go(state);
    d.machine.stop(d.now);
    EXPECT_EQ(d.machine.trigger(d.now, {}), 0U);
    d.collect();
    check_stopped(state, d);
    d.machine.stop(d.now);
    d.collect();
    EXPECT_EQ(d.count(Do::kStop), 1) << "a second stop changes nothing";
  }
}

TEST(RestartMachine, AStopWhileNobodyCanOwnTheStoreEnds) {
  Driven d;
  d.go(State::kStorageReleased);
  d.machine.stop(d.now);
  d.machine.on_death(d.now, Who::kNew, "killed");
  d.collect();
  EXPECT_TRUE(d.did(Do::kKillOld));
  EXPECT_TRUE(d.did(Do::kStop));
  EXPECT_EQ(d.count(Do::kStart), 1);
}

TEST(RestartMachine, WithoutAWorkerThatCouldHandOverTheNewOneStartsAlone) {
  Driven d;
  d.machine.trigger(d.now, {.by = "a test", .binary = "/fixed"});
  d.machine.on_trial(d.now, "", false);
  d.collect();
  EXPECT_TRUE(d.did(Do::kKillOld));
  EXPECT_TRUE(d.did(Do::kStart));
  d.machine.on_state(d.now, Who::kNew, State::kOwned);
  EXPECT_EQ(d.machine.state(), State::kIdle);
  EXPECT_EQ(d.outcome(), Outcome::kRecovered);
}

TEST(RestartMachine, TakesTheNewWorkersWordBeforeTheOldOnes) {
  Driven d;
  d.go(State::kSessions);
  d.machine.on_state(d.now, Who::kNew, State::kOwned);
  d.machine.on_state(d.now, Who::kOld, State::kStorageReleased);
  EXPECT_EQ(d.machine.state(), State::kOwned);
}

}  // namespace
}  // namespace outlast::handover
