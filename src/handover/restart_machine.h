#pragma once
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "handover/states.h"

namespace outlast::handover {

/// How long each state of a restart may take before somebody counts as hanging.
struct RestartTimeouts {
  Duration trial{std::chrono::seconds(30)};
  Duration standby{std::chrono::seconds(60)};
  Duration sessions{std::chrono::seconds(40)};  ///< handover.transaction_wait (10s) and 30 s.
  Duration owned{std::chrono::seconds(60)};     ///< From the release of the storage until the new worker has it.
  Duration leaving{std::chrono::seconds(30)};   ///< Until the old process is gone, once it has the receipt.
};

enum class Outcome : std::uint8_t {
  kCompleted,
  kRefused,     ///< The trial said no: nothing was touched.
  kRolledBack,  ///< The new worker failed before the point of no return: the old one went on.
  kRecovered,   ///< The old worker died before it, or a new one after it: somebody else went on.
};
std::string_view to_string(Outcome outcome);

struct RestartRequest {
  std::string by;      ///< "SIGUSR2", "cli", "http".
  std::string binary;  ///< Empty: the file that is now at the path of the present one.
};

/// The supervisor's own half of a receipt.
struct RestartRecord {
  std::uint64_t id{0};
  RestartRequest request;
  std::array<Duration, kAllHandoverStates.size()> spent{};  ///< In each state.
  Instant started{};
  int attempts{0};         ///< New workers started.
  bool old_binary{false};  ///< The last of them was the old binary again.
  bool old_lost{false};    ///< The old worker died before it had handed over.
  Outcome outcome{Outcome::kCompleted};
  std::string why;
};

/// Decides a restart, one at a time; whatever comes during one asks for exactly one more. Pure: events and the time
/// come in, take_actions() says what is to be done, in order. Thread-safety: none.
class RestartMachine {
 public:
  enum class Who : std::uint8_t { kOld, kNew };
  enum class Do : std::uint8_t {
    kEntered,   ///< The state was entered: say so.
    kTry,       ///< Start the trial.
    kEndTrial,  ///< Kill it.
    kStart,     ///< Start a new worker: beside the old one if that lives, else alone.
    kKillNew,   ///< And wait for its end; it is not reported as a death.
    kKillOld,
    kReceipt,  ///< Compose it of record(), keep it, tell everybody. Comes in kOwned and again, complete, in kDone.
    kStop,     ///< Stop the worker that is left.
    kGiveUp,   ///< Nothing that there is can own the store.
  };
  struct Action {
    Do what;
    HandoverState state;
  };

  explicit RestartMachine(RestartTimeouts timeouts, std::uint64_t last_id = 0)
      : timeouts_(timeouts), last_id_(last_id) {}

  /// The id of the restart that will fulfil this request; 0 when the node stops.
  std::uint64_t trigger(Instant now, RestartRequest request);
  /// `refusal` empty: the trial passed. `old_serves`: there is a worker that can hand over.
  void on_trial(Instant now, const std::string& refusal, bool old_serves);
  /// A worker says that it entered `state`.
  void on_state(Instant now, Who who, HandoverState state);
  /// The new worker owns the store. `old_died`: it was not given the store, it took it from a process that was gone.
  /// What is known of the old worker's death may come before or after this, so the new worker's word decides the
  /// outcome.
  void on_owned(Instant now, bool old_died);
  /// A worker ended by itself. `fatal`: it says that the same binary would end the same way.
  void on_death(Instant now, Who who, const std::string& why, bool fatal = false);
  /// `old_reads`: the old worker reads what it is told, so it is not the one that hangs.
  void on_time(Instant now, bool old_reads);
  /// The node is to stop: what can be undone is undone, what cannot is finished, then kStop.
  void stop(Instant now);
  /// Begins the restart that was asked for during the last one, when that is over and told.
  void begin_queued(Instant now);

  std::vector<Action> take_actions() { return std::exchange(actions_, {}); }
  HandoverState state() const { return state_; }
  bool busy() const { return state_ != HandoverState::kIdle || queued_; }
  bool queued() const { return queued_.has_value(); }
  std::uint64_t last_id() const { return last_id_; }
  const RestartRecord& record() const { return record_; }
  /// When on_time is due.
  std::optional<Instant> deadline() const { return deadline_; }
  /// When the old worker should be told something, so that by the deadline one can see whether it reads.
  std::optional<Instant> probe_at() const;

 private:
  void begin(Instant now, std::uint64_t id, RestartRequest request);
  void enter(Instant now, HandoverState state);
  void act(Do what) { actions_.push_back({what, state_}); }
  void start_new(Instant now);
  void retry(Instant now, const std::string& why, bool fatal);
  void own(Instant now);
  void lose_old(Instant now, const std::string& why);
  void end(Instant now, Outcome outcome, const std::string& why);
  void finish(Instant now);
  void note(Outcome outcome, const std::string& why);
  Duration limit(HandoverState state) const;

  const RestartTimeouts timeouts_;
  std::uint64_t last_id_;
  HandoverState state_{HandoverState::kIdle};
  Instant entered_{};
  std::optional<Instant> deadline_;
  RestartRecord record_;
  std::optional<RestartRequest> queued_;
  bool stopping_{false}, release_told_{false}, old_lives_{true}, new_lives_{false}, new_stands_by_{false};
  int failures_{0};
  std::vector<Action> actions_;
};

}  // namespace outlast::handover
