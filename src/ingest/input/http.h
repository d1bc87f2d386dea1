#pragma once
#include "ingest/input/http_loop.h"
#include "ingest/input/loop_input.h"

namespace outlast::ingest {

/// Takes records as bodies of POST requests, on any path (body.h says in which formats), plain or packed with gzip or
/// zstd. All of a body is taken or nothing of it. 200 is answered when the input's Ack is reached, 400 and 413 with the
/// index of the bad record, 429 with Retry-After when there is no room, 503 when the Ack fails or takes too long.
class HttpInput final : public LoopInput<HttpLoop> {
 public:
  HttpInput(InputOptions options, Intake& intake);
  ~HttpInput() override;
  /// Answers the requests under way, at most for InputOptions::stop_wait, and closes each connection behind its answer;
  /// what cannot be answered by then is told so (503).
  StopReport stop() override;
  /// Those whose next request has not come, or not all of it; the others follow behind their answer.
  std::vector<MovedConnection> release_connections(Later later = nullptr) override;
};

}  // namespace outlast::ingest
