#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/loop.h"
#include "base/result.h"
#include "handover/sockets.h"

namespace outlast::handover {

/// A worker as its supervisor sees it. Thread-safety: none. Lifetime: owns its descriptors, not the process.
struct Child {
  Child() = default;
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  int pid{0}, pid_fd{-1}, control_fd{-1};
  bool ours{true};  ///< Else adopted: somebody else learns how it ended.
  Instant started{};
  std::string binary;
  NodeId node;
  Incarnation incarnation;
  bool ready{false};
  std::string version;  ///< As it says itself.
  std::string fatal;
};

struct ChildEnd {
  bool known{false};   ///< Else the process was not ours.
  bool exited{false};  ///< Else `status` is the signal that killed it.
  int status{0};
  bool exited_with(int code) const { return known && exited && status == code; }
};
/// "exited with 3", "was killed by signal 9", "is gone".
std::string to_string(const ChildEnd& end);

/// Starts `program` with passed[i] at descriptor `first_fd` + i, -1 for none there, all signals as they are by default.
/// kUnavailable names the program.
Result<int> spawn(const std::string& program, const std::vector<std::string>& argv, int first_fd,
                  const std::vector<int>& passed);
/// Starts a worker with a control channel; `pair` is its end of the pair to the old worker, or -1.
Result<std::unique_ptr<Child>> start_worker(const std::string& program, const std::vector<std::string>& argv,
                                            const Listeners& listeners, int pair);

int open_pid_fd(int pid);
/// How it ended, once; nullopt while it lives.
std::optional<ChildEnd> ended(const Child& child);
void send_signal(const Child& child, int signal);
/// SIGKILL, and waits for the end of it, at most 5 s.
void kill_and_wait(const Child& child);
/// It has read all that it was told: it does not hang.
bool reads_control(const Child& child);

/// Reaps what nobody here started (as PID 1 that is every orphan), and leaves `ours` alone.
void reap_orphans(const std::vector<int>& ours);
/// Sockets are what a node runs out of first: the soft limit becomes the hard one.
void raise_fd_limit();
/// Descriptors that this process has open, and may have.
struct Descriptors {
  std::size_t open{0}, allowed{0};
};
Descriptors count_descriptors();

}  // namespace outlast::handover
