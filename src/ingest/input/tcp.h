#pragma once
#include <thread>

#include "ingest/input/input.h"

namespace outlast::ingest {

class TcpLoop;

/// Reads thousands of connections on one thread. Records of all connections that had something in one turn of the loop
/// go to the intake in one batch; while it has no room no connection is read, so that senders wait.
class TcpInput final : public Input {
 public:
  TcpInput(InputOptions options, Intake& intake);
  ~TcpInput() override;
  Result<void> start() override;
  /// Reads what has come on each connection, at most 1 MiB, and closes it; a record that has no end yet is kept.
  StopReport stop() override;
  std::vector<MovedConnection> release_connections() override;
  void adopt(MovedConnection connection) override;
  InputCounters counters() const override { return stats_->now(); }
  std::uint16_t port() const override;

 private:
  InputOptions options_;
  Fd socket_;
  std::shared_ptr<InputStats> stats_;
  std::shared_ptr<TcpLoop> loop_;
  std::thread thread_;
  StopReport report_;
};

}  // namespace outlast::ingest
