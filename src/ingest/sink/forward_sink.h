#pragma once
#include "ingest/parse/parser.h"
#include "ingest/sink/http_post.h"
#include "ingest/sink/sink.h"

namespace outlast::ingest {

struct ForwardSinkOptions {
  HttpTarget target;
  Duration timeout{std::chrono::seconds(60)};  ///< For each step: connecting, sending, the answer.
};

/// A chunk is one POST to another Outlast (forward.h), packed with zstd; 200 means that the receiver has it, as safely
/// as its `ack` says, and a chunk that comes again is recognised there. 400, 413 and 415 are final; everything else is
/// tried again.
class ForwardSink final : public Sink {
 public:
  /// Lifetime: `decoder` outlives it.
  ForwardSink(ForwardSinkOptions options, const Decoder& decoder)
      : decoder_(decoder), poster_(std::move(options.target), options.timeout) {}
  void write(std::shared_ptr<const Chunk> chunk, Callback<void> done) override;
  bool one_at_a_time() const override { return true; }
  void stop() override { poster_.stop(); }

 private:
  Result<void> send(const Chunk& chunk);
  const Decoder& decoder_;
  HttpPoster poster_;
};

}  // namespace outlast::ingest
