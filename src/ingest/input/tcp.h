#pragma once
#include "ingest/input/loop_input.h"
#include "ingest/input/tcp_loop.h"

namespace outlast::ingest {

/// Reads thousands of connections on one thread. Records of all connections that had something in one turn of the loop
/// go to the intake in one batch; while it has no room no connection is read, so that senders wait.
class TcpInput final : public LoopInput<TcpLoop> {
 public:
  TcpInput(InputOptions options, Intake& intake);
  ~TcpInput() override;
  /// Reads what has come on each connection, at most 1 MiB, and closes it; a record that has no end yet is kept.
  StopReport stop() override;
  std::vector<MovedConnection> release_connections(Later later = nullptr) override;
};

}  // namespace outlast::ingest
