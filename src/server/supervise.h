#pragma once
#include "server/options.h"

namespace outlast::server {

/// `outlast start`: binds the client-facing sockets and keeps one worker running until it is told to stop. Returns the
/// process's exit code. Call it before any thread exists.
int supervise(const StartOptions& options);

/// The hidden `outlast worker`: one worker process of a node. Returns the exit code for the supervisor.
int work(const WorkerOptions& options);

/// The worker's command line for these options: what `work` gets back through the parser of cli.
std::vector<std::string> worker_command(const StartOptions& options);

}  // namespace outlast::server
