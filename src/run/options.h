#pragma once
#include <string>
#include <vector>

#include "base/loop.h"

namespace outlast::run {

/// `outlast run`, as the command line gives it (docs/supervisor.md).
struct RunOptions {
  std::vector<std::string> command;
  std::vector<std::string> listen;       ///< See open_listener().
  std::vector<std::string> environment;  ///< NAME=VALUE; {fds;} and {fd:NAME} in a value are filled in.
  std::string ready{"exec"};             ///< See parse_ready().
  Duration ready_after{std::chrono::seconds(1)}, ready_timeout{std::chrono::seconds(30)};
  Duration grace{std::chrono::seconds(30)};
  std::string stop_signal{"SIGTERM"};
  std::string check;  ///< For `sh -c`.
  std::string restart{"on-failure"};
  std::string pid_file;
  std::string format{"text"};  ///< Or json.
};

/// SIGTERM for "SIGTERM", "TERM" or "15".
Result<int> parse_signal(const std::string& text);
/// NAME=VALUE with the descriptors filled in: "{fds;}" is "3;4;" (each followed by what stands after "fds"), "{fd:web}"
/// the descriptor of the socket named web.
Result<std::string> fill_in(const std::string& text, const std::vector<std::string>& socket_names);

/// Keeps the server running until it is told to stop; the program's exit code. One sentence on stderr when it cannot
/// begin. Call it while the process has one thread.
int run(const RunOptions& options);
/// Asks the `outlast run` that holds this pid file to reload.
Result<void> ask_to_reload(const std::string& pid_file);

}  // namespace outlast::run
