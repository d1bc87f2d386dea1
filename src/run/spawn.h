#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "base/result.h"

namespace outlast::run {

struct SpawnRequest {
  std::vector<std::string> command;      ///< argv; argv[0] is looked up in PATH.
  std::vector<std::string> environment;  ///< NAME=VALUE, all of it.
  std::vector<int> sockets;              ///< Become 3, 4, …; with LISTEN_PID when there are any.
  int stderr_fd{-1};
  int death_signal{0};  ///< Sent to it by the kernel when we are killed.
};

/// Starts a process in a group of its own, with default signals and no descriptor but 0, 1, 2 and the sockets. Returns
/// once the program runs. kNotFound: no such program; kUnavailable: any other reason, in a sentence.
Result<pid_t> spawn(const SpawnRequest& request);

/// This process's environment without what a process manager said to it alone.
std::vector<std::string> environment_for_children();

/// Whether a process of this group is left.
bool group_exists(pid_t group);

/// Kills every descendant that is left, in whatever group. Only for a process that is their subreaper or PID 1.
void kill_descendants();

}  // namespace outlast::run
