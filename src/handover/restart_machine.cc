#include "handover/restart_machine.h"

#include <algorithm>

#include "base/parse.h"

namespace outlast::handover {
using namespace std::chrono_literals;
using State = HandoverState;

namespace {
constexpr int kNewBinaryFailures = 2;  ///< After the release; then the old binary is started again.
}

std::string_view to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::kCompleted:
      return "completed";
    case Outcome::kRefused:
      return "refused";
    case Outcome::kRolledBack:
      return "rolled_back";
    case Outcome::kRecovered:
      return "recovered";
  }
  return "unknown";
}

std::uint64_t RestartMachine::trigger(Instant now, RestartRequest request) {
  if (stopping_) return 0;
  if (!busy()) {
    begin(now, ++last_id_, std::move(request));
    return record_.id;
  }
  if (!queued_) ++last_id_;
  queued_ = std::move(request);
  return last_id_;
}

void RestartMachine::begin(Instant now, std::uint64_t id, RestartRequest request) {
  record_ = {};
  record_.id = id;
  record_.request = std::move(request);
  record_.started = now;
  old_lives_ = true;
  new_lives_ = new_stands_by_ = release_told_ = false;
  failures_ = 0;
  entered_ = now;
  enter(now, State::kTrial);
  act(Do::kTry);
}

void RestartMachine::enter(Instant now, State state) {
  record_.spent[static_cast<std::size_t>(state_)] += now - entered_;
  state_ = state;
  entered_ = now;
  deadline_.reset();
  if (const Duration limit = this->limit(state); limit > 0s) deadline_ = now + limit;
  act(Do::kEntered);
}

Duration RestartMachine::limit(State state) const {
  switch (state) {
    case State::kTrial:
      return timeouts_.trial;
    case State::kStandby:
      return timeouts_.standby;
    case State::kSessions:
      return timeouts_.sessions;
    case State::kStorageReleased:
      return timeouts_.owned;
    case State::kOwned:
      return timeouts_.leaving;
    case State::kIdle:
    case State::kDone:
      return 0s;
  }
  return 0s;
}

void RestartMachine::on_trial(Instant now, const std::string& refusal, bool old_serves) {
  if (state_ != State::kTrial) return;
  if (!refusal.empty()) return end(now, Outcome::kRefused, refusal);
  if (old_serves) {
    enter(now, State::kStandby);
    return start_new(now);
  }
  act(Do::kKillOld);  // it starts, perhaps for the tenth time, and nobody was promised anything
  lose_old(now, "there was no worker that could hand over");
  start_new(now);
}

void RestartMachine::start_new(Instant now) {
  new_lives_ = true;
  new_stands_by_ = false;
  ++record_.attempts;
  deadline_ = now + limit(state_);
  act(Do::kStart);
}

void RestartMachine::on_state(Instant now, Who who, State said) {
  const bool before_release = state_ == State::kStandby || state_ == State::kSessions;
  switch (said) {
    case State::kStandby:
      if (who == Who::kNew) new_stands_by_ = true;
      return;
    case State::kSessions:
      if (state_ == State::kStandby) enter(now, State::kSessions);
      return;
    case State::kStorageReleased:
      if (who != Who::kOld) return;
      release_told_ = true;
      if (before_release) enter(now, State::kStorageReleased);
      return;
    case State::kOwned:  // may be read before the old worker's word that it released
      if (who == Who::kNew && new_lives_ && (before_release || state_ == State::kStorageReleased)) own(now);
      return;
    case State::kIdle:
    case State::kTrial:
    case State::kDone:
      return;
  }
}

void RestartMachine::on_owned(Instant now, bool old_died) {
  if (old_died && !release_told_ && !record_.old_lost) {
    record_.old_lost = true;
    note(Outcome::kRecovered, "the old worker died before it had released the node");
  } else if (!old_died && record_.old_lost && record_.attempts == 1) {  // it had released the node, and died then
    record_.old_lost = false;
    record_.outcome = Outcome::kCompleted;
    record_.why.clear();
  }
  on_state(now, Who::kNew, State::kOwned);
}

void RestartMachine::own(Instant now) {
  enter(now, State::kOwned);
  act(Do::kReceipt);
  if (!old_lives_) finish(now);
}

void RestartMachine::on_death(Instant now, Who who, const std::string& why, bool fatal) {
  const bool old = who == Who::kOld;
  if (old)
    old_lives_ = false;
  else
    new_lives_ = false;
  switch (state_) {
    case State::kStandby:
    case State::kSessions:
      if (old) return lose_old(now, why);
      return end(now, Outcome::kRolledBack, why);
    case State::kStorageReleased:
      if (!old) retry(now, why, fatal);
      return;
    case State::kOwned:
      if (old) finish(now);
      return;
    case State::kIdle:  // the worker is started again as after any crash
    case State::kTrial:
    case State::kDone:
      return;
  }
}

/// The first reason is the one that people look for.
void RestartMachine::note(Outcome outcome, const std::string& why) {
  record_.outcome = outcome;
  if (record_.why.empty()) record_.why = why;
}

void RestartMachine::lose_old(Instant now, const std::string& why) {
  old_lives_ = false;
  record_.old_lost = true;
  note(Outcome::kRecovered, why);
  enter(now, State::kStorageReleased);
}

void RestartMachine::retry(Instant now, const std::string& why, bool fatal) {
  note(Outcome::kRecovered, why);
  if (stopping_) {
    if (old_lives_) act(Do::kKillOld);
    return finish(now);
  }
  if (fatal && record_.old_binary) {
    if (old_lives_) act(Do::kKillOld);
    finish(now);
    return act(Do::kGiveUp);
  }
  ++failures_;
  record_.old_binary = record_.old_binary || fatal || failures_ >= kNewBinaryFailures;
  if (failures_ <= kNewBinaryFailures) return start_new(now);
  deadline_ = now + std::min<Duration>(100ms * (1 << std::min(failures_ - kNewBinaryFailures - 1, 6)), 5s);
}

std::optional<Instant> RestartMachine::probe_at() const {
  const bool old_matters = state_ == State::kStandby || state_ == State::kSessions || state_ == State::kStorageReleased;
  if (!deadline_ || !old_matters) return std::nullopt;
  return *deadline_ - limit(state_) / 4;
}

void RestartMachine::on_time(Instant now, bool old_reads) {
  if (!deadline_ || now < *deadline_) return;
  const std::string late = " within " + format_duration(limit(state_));
  switch (state_) {
    case State::kTrial:
      act(Do::kEndTrial);
      return end(now, Outcome::kRefused, "the trial of the new binary did not end" + late);
    case State::kStandby:
    case State::kSessions:
      if (!old_reads && (new_stands_by_ || state_ == State::kSessions)) {
        act(Do::kKillOld);
        return lose_old(now, "the old worker did not hand over" + late + " and answered nothing");
      }
      return end(now, Outcome::kRolledBack,
                 state_ == State::kStandby ? "the new worker was not ready" + late
                                           : "the sessions and leases did not move" + late);
    case State::kStorageReleased:
      if (!new_lives_) return start_new(now);
      if (old_lives_ && !old_reads) {  // it may not have told the new one that it released: its end does
        act(Do::kKillOld);
        old_lives_ = false;
        deadline_ = now + limit(state_);
        return;
      }
      act(Do::kKillNew);
      new_lives_ = false;
      return retry(now, "the new worker did not take the store" + late, false);
    case State::kOwned:
      act(Do::kKillOld);
      return finish(now);
    case State::kIdle:
    case State::kDone:
      return;
  }
}

void RestartMachine::stop(Instant now) {
  if (std::exchange(stopping_, true)) return;
  queued_.reset();
  switch (state_) {
    case State::kIdle:
      return act(Do::kStop);
    case State::kTrial:
      act(Do::kEndTrial);
      return end(now, Outcome::kRefused, "the node stops");
    case State::kStandby:
    case State::kSessions:
      return end(now, Outcome::kRolledBack, "the node stops");
    case State::kStorageReleased:
      if (!new_lives_) retry(now, "the node stops", false);
      return;
    case State::kOwned:
    case State::kDone:
      return;  // finish() goes on
  }
}

void RestartMachine::end(Instant now, Outcome outcome, const std::string& why) {
  if (new_lives_) act(Do::kKillNew);
  new_lives_ = false;
  note(outcome, why);
  finish(now);
}

void RestartMachine::finish(Instant now) {
  enter(now, State::kDone);
  act(Do::kReceipt);
  enter(now, State::kIdle);
  if (stopping_) act(Do::kStop);
}

void RestartMachine::begin_queued(Instant now) {
  if (state_ != State::kIdle || !queued_) return;
  RestartRequest next = std::move(*queued_);
  queued_.reset();
  begin(now, last_id_, std::move(next));
}

}  // namespace outlast::handover
