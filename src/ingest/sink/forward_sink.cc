#include "ingest/sink/forward_sink.h"

namespace outlast::ingest {
namespace {

Result<void> meaning_of(const HttpPoster::Answer& answer) {
  if (answer.status == 200) return {};
  constexpr std::size_t kShown = 200;
  const std::string what =
      "the receiver answered " + std::to_string(answer.status) + ": " + answer.body.substr(0, kShown);
  const bool refused = answer.status == 400 || answer.status == 413 || answer.status == 415;
  return Error(refused ? Errc::kInvalidArgument : Errc::kUnavailable, what);
}

}  // namespace

void ForwardSink::write(std::shared_ptr<const Chunk> chunk, Callback<void> done) {
  done(send(*chunk));
}

Result<void> ForwardSink::send(const Chunk& chunk) {
  std::string body;
  TRY(write_lines(chunk, LineForm::kJson, decoder_, [&body](std::string_view lines) -> Result<void> {
    body += lines;
    return {};
  }));
  ASSIGN_OR_RETURN(const auto answer, poster_.post({{"Content-Type", "application/x-ndjson"},
                                                    {kChunkHeader, chunk.id().to_string()},
                                                    {kTagHeader, chunk.tag()}},
                                                   std::move(body)));
  return meaning_of(answer);
}

}  // namespace outlast::ingest
