#include "ingest/sink/text_writer.h"

namespace outlast::ingest {
namespace {
constexpr std::size_t kPiece = 256U << 10;
}  // namespace

Result<void> write_lines(const Chunk& chunk, LineForm form, const Decoder& decoder, const TextWriter& write) {
  std::string lines;
  lines.reserve(kPiece + (kPiece >> 2));
  auto read = chunk.each_batch([&](std::string_view batch) -> Result<void> {
    RecordBatch::Reader reader(batch);
    for (RawRecord record; reader.next(record);) {
      if (form == LineForm::kRaw)
        lines += record.bytes;
      else
        lines += to_json_line(decoder.decode(chunk.tag(), record, chunk.form()));
      lines += '\n';
      if (lines.size() < kPiece) continue;
      TRY(write(lines));
      lines.clear();
    }
    return {};
  });
  TRY(std::move(read));
  return lines.empty() ? Result<void>() : write(lines);
}

}  // namespace outlast::ingest
