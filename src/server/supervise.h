#pragma once
#include "handover/supervisor.h"
#include "server/options.h"

namespace outlast::server {

/// `outlast start`: binds the client-facing sockets and keeps one worker running until it is told to stop. Returns the
/// process's exit code. Call it before any thread exists.
int supervise(const StartOptions& options);

/// The hidden `outlast worker`: one worker process of a node. Returns the exit code for the supervisor.
int work(const WorkerOptions& options);

/// A worker that could not start for this would fail again in the same way.
bool is_final(Errc why);

/// The command lines of a worker and of a trial for these options: what the parser of cli reads back.
handover::CommandLines command_lines(const StartOptions& options);

}  // namespace outlast::server
