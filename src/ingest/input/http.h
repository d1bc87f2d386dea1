#pragma once
#include <thread>

#include "ingest/input/input.h"

namespace outlast::ingest {

class HttpLoop;

/// Takes records as bodies of POST requests, on any path (body.h says in which formats), plain or packed with gzip or
/// zstd. All of a body is taken or nothing of it. 200 is answered when the input's Ack is reached, 400 and 413 with the
/// index of the bad record, 429 with Retry-After when there is no room, 503 when the Ack fails or takes too long.
class HttpInput final : public Input {
 public:
  HttpInput(InputOptions options, Intake& intake);
  ~HttpInput() override;
  Result<void> start() override;
  /// Answers the requests under way, at most for InputOptions::stop_wait, and closes each connection behind its answer.
  StopReport stop() override;
  /// Those between two requests; the others are answered and closed.
  std::vector<MovedConnection> release_connections() override;
  void adopt(MovedConnection connection) override;
  InputCounters counters() const override { return stats_->now(); }
  std::uint16_t port() const override;

 private:
  InputOptions options_;
  Fd socket_;
  std::shared_ptr<InputStats> stats_;
  std::shared_ptr<HttpLoop> loop_;
  std::thread thread_;
  StopReport report_;
};

}  // namespace outlast::ingest
