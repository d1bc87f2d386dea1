#pragma once
#include "ingest/sink/http_post.h"
#include "ingest/sink/sink.h"
#include "ingest/sink/text_writer.h"

namespace outlast::ingest {

/// The header with the chunk's id: a receiver that has stored that id answers 200 and stores nothing.
inline constexpr const char* kChunkHeader = "Outlast-Chunk-Id";
inline constexpr const char* kTagHeader = "Outlast-Tag";

struct ForwardSinkOptions {
  HttpTarget target;
  Duration timeout{std::chrono::seconds(60)};  ///< For each step: connecting, sending, the answer.
};

/// A chunk is one POST of NDJSON (to_json_line) to another Outlast; 200 means that it is stored there. 400, 413 and 415
/// are final; everything else is tried again.
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
