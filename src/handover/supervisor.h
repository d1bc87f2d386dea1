#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/loop.h"
#include "base/result.h"
#include "handover/child.h"
#include "handover/control.h"
#include "handover/receipt.h"
#include "handover/restart_log.h"
#include "handover/restart_machine.h"
#include "handover/restart_policy.h"
#include "handover/self_upgrade.h"
#include "handover/sockets.h"
#include "handover/supervisor_socket.h"
#include "handover/trial.h"
#include "lifecycle/signals.h"

namespace outlast::handover {

/// File descriptors that a worker finds open at its start.
inline constexpr int kControlFd = 3, kSqlFd = 4, kHttpFd = 5;
inline constexpr int kHandoverFd = 6;  ///< With `worker --standby`: the pair to the old worker (handover/channel.h).

/// Exit codes of a worker that the supervisor understands (docs/cli.md).
inline constexpr int kExitStopped = 0;     ///< Stopped as it was asked to.
inline constexpr int kExitFatal = 3;       ///< Starting it again would end the same way.
inline constexpr int kExitHandedOver = 4;  ///< The node is another worker's now; should there be none, start one.

/// Command lines without the binary, from the options as they are now.
struct CommandLines {
  std::vector<std::string>
      worker;                      ///< "worker", …; with `--standby` beside an old one, `--source-only` until SIGWINCH.
  std::vector<std::string> trial;  ///< "start", "--check", …
  /// "worker", … with the values that are in force once the restart is done: for a worker that died by itself, which
  /// must come back whatever was written into the configuration file meanwhile.
  std::vector<std::string> again;
  const std::vector<std::string>& present() const { return again.empty() ? worker : again; }
};

struct SupervisorOptions {
  std::string binary;             ///< The path that we were started from.
  std::vector<std::string> argv;  ///< Ours, for a newer supervisor in our place.
  std::string version;
  std::string store;     ///< Folder for sockets and receipts; empty: none.
  std::string pid_file;  ///< Written when the node serves, removed at a real stop; empty: none.
  int lock_fd{-1};       ///< Held for the supervisor's life, and passed on.
  /// Evaluated before each restart, which a broken configuration refuses with its sentence.
  std::function<Result<CommandLines>()> command_lines;
  /// The sockets that the configuration wants: those of `open` that it still does, and new ones. Called when no worker
  /// with sockets of its own was found, and before each restart; an error refuses it.
  std::function<Result<Listeners>(const Listeners& open)> bind;
  /// SIGHUP: reads the configuration again. JSON for the worker: what changed, and what needs a restart.
  std::function<Result<std::string>()> reload;
  const Clock* clock{nullptr};
  /// The kernel says that this incarnation's process is gone: fence it at once (A2.3). Called on the supervisor's
  /// thread; must retry by itself and return soon.
  std::function<void(NodeId, Incarnation)> fence;
  std::function<void()> settle;  ///< Waits, shortly, for what fence() began: our process image is about to end.
  RestartTimeouts timeouts;
  bool source_only{false};                ///< Nothing is stored until SIGWINCH.
  std::optional<SupervisorState> passed;  ///< From the supervisor before us in this process.
};

/// Keeps one worker running, starts it again when it ends by itself, replaces it by a new one on demand (protocol A8)
/// and itself after that; owns the listening sockets so that a killed worker takes no queued connection with it. One
/// thread; run() blocks. SIGTERM and SIGINT stop the worker gracefully; a further SIGTERM is ignored, a SIGINT while
/// stopping kills it. SIGUSR1 is passed on, SIGUSR2 restarts, SIGHUP reloads, SIGWINCH ends source-only.
class Supervisor {
 public:
  explicit Supervisor(SupervisorOptions options);
  ~Supervisor();
  /// Blocks the signals that run() reads. Call it first in main, before any thread exists.
  static void block_signals();
  /// Returns the process's exit code.
  int run();

 private:
  using Who = RestartMachine::Who;
  struct Waiter {
    std::uint64_t client, restart;
  };
  struct Plan {
    std::string binary;
    std::unique_ptr<Trial> trial;
    std::string trial_report, worker_report;  ///< JSON; empty: not there yet.
    std::vector<std::uint64_t> clients;
    Instant deadline;
  };

  // supervisor.cc
  Result<void> open_socket();
  void wait();
  void look();
  void look_at_time();
  void on_signal(int signal);
  lifecycle::ProcessState process_state() const;
  std::optional<Instant> next_deadline() const;
  void become_newer();
  void end_source_only();
  void leave_frontend();

  // supervisor_worker.cc: the one worker outside of restarts, and how children end
  bool by_policy() const;
  std::vector<std::string> worker_words(const std::string& program, std::vector<std::string> words) const;
  void start_or_adopt();
  Result<void> start_present();
  void look_at_ends();
  bool look_at_one_end();
  void on_end(std::unique_ptr<Child>& place, const ChildEnd& end);
  void on_worker_end(const ChildEnd& end);
  void bury(std::unique_ptr<Child>& child);
  void kill_child(std::unique_ptr<Child>& child);
  void pass_stop();

  // supervisor_restart.cc: carries out what the machine decides
  void run_actions();
  void act(const RestartMachine::Action& action);
  void on_entered(HandoverState state);
  void start_trial();
  void look_at_trial();
  void start_next();
  void make_receipt(HandoverState state);
  std::uint64_t trigger(RestartRequest request);

  // supervisor_talk.cc: workers and clients
  void read_control(Child& child);
  void on_message(Child& child, ControlMessage& message);
  void on_serving(Child& child);
  void on_client(std::uint64_t client, const ControlMessage& message);
  void ask_restart(std::uint64_t client, const std::string& text);
  std::string accepted(std::uint64_t id) const;
  void ask_plan(std::uint64_t client, const std::string& binary);
  void look_at_plan();
  std::string reload();
  void tell_everybody(HandoverState state);
  std::string status(HandoverState state, bool with_receipt) const;

  Instant now() const { return options_.clock->now(); }
  std::vector<Child*> children() const;

  SupervisorOptions options_;
  RestartPolicy policy_;
  RestartLog log_;
  RestartMachine machine_;
  std::unique_ptr<SupervisorSocket> socket_;
  Listeners listeners_;
  Listeners next_listeners_;       ///< Of the restart under way, from its trial on.
  std::unique_ptr<Child> worker_;  ///< Owns the store; during a restart the old one.
  std::unique_ptr<Child> next_;    ///< The new one, until the store is its.
  std::unique_ptr<Child> old_;     ///< The old one after that.
  bool next_alone_{false};         ///< Started without an old worker: it says `ready`, not `owned`.
  std::unique_ptr<Trial> trial_;
  std::optional<Plan> plan_;
  std::vector<Waiter> waiters_;

  std::string present_{"/proc/self/exe"};  ///< Program of the worker.
  std::string target_;                     ///< Of the restart under way.
  CommandLines lines_, target_lines_;
  std::string from_version_, to_version_, workers_half_;
  std::int64_t restart_began_micros_{0};
  bool upgrade_wanted_{false};

  int signal_fd_{-1};
  Instant start_at_{}, silent_since_{};
  std::optional<Instant> probed_;  ///< For the deadline with this time of probe.
  bool source_only_;
  bool look_for_worker_{true}, kept_{false}, served_{false}, stopping_{false};
  std::string fatal_;
  int exit_code_{-1};  ///< >= 0: run() returns it.
};

/// argv of a program with these words.
std::vector<std::string> with_program(const std::string& program, const std::vector<std::string>& words);
/// STATUS=, READY=1 and the like; a manager that does not take it is worth a warning.
void tell_manager(const std::string& state);
/// RELOADING=1 with its time; READY=1 ends it.
std::string reloading();

}  // namespace outlast::handover
