#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "handover/restart_policy.h"

namespace outlast::run {

enum class Restart : std::uint8_t { kAlways, kOnFailure, kNever };

struct Settings {
  Duration ready_timeout{std::chrono::seconds(30)}, grace{std::chrono::seconds(30)};
  int stop_signal{15};
  bool check{false};  ///< There is a trial run before each reload.
  Restart restart{Restart::kOnFailure};
};

/// How a process ended.
struct Ending {
  bool signalled{false};
  int value{0};  ///< Exit code, or the signal.
};
std::string to_string(const Ending& ending);

/// What a reload came to. Process numbers count up from 1; a pid of 0 means that there was none.
struct Receipt {
  std::int64_t id{0};
  std::string outcome;  ///< completed, rolled_back, refused (by the check) or abandoned (a stop came first).
  std::string why;      ///< Empty when all went well.
  std::string by;       ///< "SIGUSR2", "SIGHUP"; "again" when triggers came during the reload before.
  int triggers{1};      ///< How many were answered by this one.
  int from_pid{0}, to_pid{0};
  int failed_process{0};  ///< Whose stderr tells more; 0: nobody's, -1: the check's.
  bool killed{false};     ///< The old process was still there after the grace.
  int queued{-1};         ///< Connections that nobody had accepted yet when the processes changed; -1: unknown.
  Duration check{}, ready{}, left{}, total{};
};

/// What is to be done, in this order.
struct Action {
  enum class Kind : std::uint8_t {
    kStart,        ///< Start `process`, then say started() or start_failed().
    kCheck,        ///< Run the check, then say check_ended().
    kEndCheck,     ///< Kill the check.
    kMeasure,      ///< The processes change now: count what waits in the sockets' queues.
    kSignal,       ///< `signal` to the main process of `process`.
    kSignalGroup,  ///< `signal` to what is left of it.
    kTell,         ///< `text` to the process manager.
    kEvent,        ///< `text` is the event's name, `detail` says more.
    kReceipt,      ///< A reload is over.
    kExit,         ///< `code` is the program's.
  };
  Kind kind{};
  int process{0}, signal{0}, code{0};
  std::string text, detail;
  std::optional<Receipt> receipt;
};

enum class State : std::uint8_t { kStarting, kServing, kChecking, kProving, kLeaving, kWaiting, kStopping, kStopped };

/// The decisions of `outlast run`. At most two generations of the server exist, one reload runs at a time, and it lasts
/// until the old process is gone; triggers that come meanwhile lead to exactly one more. Pure.
class Machine {
 public:
  explicit Machine(Settings settings) : settings_(settings) {}
  void begin(Instant now);
  void reload(const std::string& by, Instant now);
  /// `hard` (a SIGINT) kills when a stop is under way already.
  void stop(bool hard, Instant now);
  void check_ended(bool ok, const std::string& why, Instant now);
  void started(int process, int pid);
  /// `code` is what the program returns when its first process cannot be started at all.
  void start_failed(int process, const std::string& why, int code, Instant now);
  void ready(int process, Instant now);
  void main_exited(int process, const Ending& ending, Instant now);  ///< Others of its group may be left.
  void gone(int process, Instant now);                               ///< Nobody of it is left.
  void tick(Instant now);
  /// When tick() has something to do at the latest.
  Instant deadline() const;
  State state() const { return state_; }
  int serving() const;  ///< The process that serves or is the first to; 0: none.
  std::vector<Action> take() { return std::exchange(out_, {}); }

 private:
  enum class Role : std::uint8_t { kServing, kCandidate, kLeaving, kRemnant };
  struct Process {
    int id{0}, pid{0};
    Role role{};
    bool main_alive{true};
    Instant started, deadline;
  };
  Process* find(int id);
  Process* of(Role role);
  void start(Role role, Instant now);
  void begin_reload(const std::string& by, Instant now);
  void prove(Instant now);
  void change_over(Process& candidate, Instant now);
  void finish(const std::string& outcome, const std::string& why, Instant now);
  void roll_back(Process& candidate, const std::string& why, Instant now);
  void crashed(Process& process, const Ending& ending, Instant now);
  void start_later(Instant started, Instant now);
  void serve(Instant now);
  void begin_stop(int code, Instant now);
  void exit_when_empty();
  void overdue(Process& process, Instant now);
  void act(Action action) { out_.push_back(std::move(action)); }
  void signal(const Process& process, int signal, bool group);
  void leave(Process& process, Role role, Instant now);
  void tell(const std::string& text);
  void event(const std::string& name, int process, const std::string& detail);

  Settings settings_;
  State state_{State::kStarting};
  handover::RestartPolicy policy_;
  std::vector<Process> processes_;
  std::vector<Action> out_;
  Receipt receipt_;
  Instant reload_began_, step_began_, check_deadline_, restart_at_;
  int last_process_{0}, waiting_triggers_{0}, exit_code_{0};
  std::int64_t reloads_{0};
  bool announced_{false};  ///< READY=1 was said.
};

}  // namespace outlast::run
