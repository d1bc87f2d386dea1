#pragma once
#include <poll.h>

#include <memory>
#include <string>
#include <vector>

#include "run/events.h"
#include "run/machine.h"
#include "run/notify_socket.h"
#include "run/options.h"
#include "run/output.h"
#include "run/probe.h"
#include "run/sockets.h"
#include "run/spawn.h"

namespace outlast::run {

/// What run() has made of the command line.
struct RunnerOptions {
  std::vector<std::string> command, environment;
  std::string check;
  ReadyRule ready;
  Duration ready_after{};
  Settings settings;
  bool json{false};
};

/// Carries out what the Machine decides, and tells it what happens. One thread; run() blocks.
class Runner {
 public:
  /// `listeners` must outlive it.
  Runner(RunnerOptions options, const std::vector<Listener>& listeners);
  ~Runner();
  /// Blocks the signals that run() reads. Before run(), while there is one thread.
  static void block_signals();
  int run();

 private:
  struct Child {
    int process{0};
    pid_t pid{0};
    bool main_alive{true}, ready{false};
    Instant ready_at{Instant::max()};
    Output errors;
    NotifySocket notify;
    std::unique_ptr<Probe> probe;
  };

  static Instant now();
  void perform();
  void perform(const Action& action);
  void start(int process);
  void start_check();
  void send(const Action& action);
  void report(Receipt receipt);
  void tell_manager(std::string text);
  void tell_status(const Child& child, const std::string& status);

  void on_signals();
  void reap();
  void sweep();
  void on_end_of(pid_t pid, int status);
  void look_at(Child& child, Instant now);
  void hear(Child& child);
  void pump();
  void wait();
  Instant next_instant() const;
  Child* find(int process);

  RunnerOptions options_;
  const std::vector<Listener>& listeners_;
  Reporter reporter_;
  Machine machine_;
  std::vector<std::unique_ptr<Child>> children_;
  Output check_errors_;
  pid_t check_pid_{0};
  int signal_fd_{-1}, exit_code_{-1}, queued_{-1};
  bool stderr_full_{false};
};

}  // namespace outlast::run
