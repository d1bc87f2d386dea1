#pragma once
#include <functional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/loop.h"
#include "base/result.h"
#include "handover/restart_policy.h"

namespace outlast::handover {

/// File descriptors that a worker finds open at its start.
inline constexpr int kControlFd = 3, kSqlFd = 4, kHttpFd = 5;
inline constexpr int kHandoverFd = 6;  ///< With `worker --standby`: the pair to the old worker (handover/channel.h).

/// Binds and listens on "host:port" (port 0 = any); close-on-exec. kUnavailable names the address.
Result<int> listen_on(const std::string& address);
/// "127.0.0.1:26257" of a bound socket.
std::string address_of(int fd);

/// Exit codes of a worker that the supervisor understands (docs/cli.md).
inline constexpr int kExitStopped = 0;  ///< Stopped as it was asked to.
inline constexpr int kExitFatal = 3;    ///< Starting it again would end the same way.

struct SupervisorOptions {
  std::vector<std::string> worker_command;  ///< argv; argv[0] is the path of the binary.
  int sql_fd{-1}, http_fd{-1};
  const Clock* clock{nullptr};
  /// The kernel says that this incarnation's process is gone: fence it at once (A2.3). Called on the supervisor's
  /// thread; must retry by itself and return soon.
  std::function<void(NodeId, Incarnation)> fence;
};

/// Keeps one worker running: starts it, starts it again when it ends by itself, passes signals on, owns the listening
/// sockets so that a killed worker takes no queued connection with it. One thread; run() blocks.
/// SIGTERM and SIGINT stop the worker gracefully; a further SIGTERM is ignored, a SIGINT while stopping kills it.
class Supervisor {
 public:
  explicit Supervisor(SupervisorOptions options);
  ~Supervisor();
  /// Blocks the signals that run() reads. Call it first in main, before any thread exists.
  static void block_signals();
  /// Returns the process's exit code.
  int run();

 private:
  Result<void> start_worker();
  void on_worker_exit();
  void on_control();
  void on_signal(int signal);
  Duration wait_for() const;

  SupervisorOptions options_;
  RestartPolicy policy_;
  int signal_fd_{-1}, pid_fd_{-1}, control_fd_{-1};
  int worker_pid_{0};
  Instant started_{}, start_at_{};
  NodeId node_;
  Incarnation incarnation_;
  std::string fatal_;
  bool stopping_{false};
  int exit_code_{-1};  ///< >= 0: run() returns it.
};

}  // namespace outlast::handover
