#include "ingest/sink/forward_sink.h"

#include "ingest/forward.h"
#include "ingest/parse/parsed.h"
#include "ingest/sink/compress.h"

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
  const auto packer = Compressor::make(Compression::kZstd);
  TRY(chunk.each_batch([&](std::string_view batch) -> Result<void> {
    if (chunk.form() == RecordForm::kParsed) return packer->compress(batch, false, body);
    RecordBatch parsed;
    RecordBatch::Reader reader(batch);
    for (RawRecord record; reader.next(record);) append_parsed(parsed, decoder_.decode(chunk.tag(), record));
    return packer->compress(parsed.data(), false, body);
  }));
  TRY(packer->compress({}, true, body));
  ASSIGN_OR_RETURN(const auto answer, poster_.post({{"Content-Type", std::string(kRecordsType)},
                                                    {"Content-Encoding", "zstd"},
                                                    {kChunkHeader, chunk.id().to_string()},
                                                    {kTagHeader, chunk.tag()}},
                                                   std::move(body)));
  return meaning_of(answer);
}

}  // namespace outlast::ingest
