#pragma once
#include <optional>
#include <string>

#include "base/loop.h"
#include "ingest/sink/compress.h"
#include "ingest/sink/sink.h"
#include "ingest/sink/text_writer.h"

namespace outlast::ingest {

struct FileSinkOptions {
  std::string path;  ///< Compressed files have .gz or .zst behind it.
  LineForm form{LineForm::kRaw};
  Compression compression{Compression::kNone};
  std::uint64_t rotate_bytes{0};  ///< 0: never.
  Duration rotate_time{0};        ///< A new file with each such period of UTC; 0: never.
  bool sync{false};               ///< On disk before the chunk counts as written.
};

/// Appends chunks to a file. PATH.mark says which chunk was begun where, so that one which comes again after a crash
/// takes the place of what there was of it. Files are rotated between chunks, to PATH.20261126-140509. A file that
/// somebody else moves away is opened anew.
class FileSink final : public Sink {
 public:
  /// Lifetime: `decoder` and `clock` outlive it.
  FileSink(FileSinkOptions options, const Decoder& decoder, Clock& clock);
  ~FileSink() override;
  void write(std::shared_ptr<const Chunk> chunk, Callback<void> done) override;
  bool one_at_a_time() const override { return true; }
  /// The file that is written to.
  const std::string& file() const { return file_; }

 private:
  struct Mark;
  Result<void> write_chunk(const Chunk& chunk);
  Result<void> open();
  Result<void> rotate_if_due();
  Result<void> begin(const ChunkId& id);
  Result<void> append_lines(const Chunk& chunk);
  Result<void> set_mark(const Mark& mark);
  std::optional<Mark> mark() const;
  std::string free_name(std::int64_t micros) const;

  FileSinkOptions options_;
  const Decoder& decoder_;
  Clock& clock_;
  std::string file_;
  int fd_{-1}, mark_fd_{-1};
  std::uint64_t begin_{0};  ///< Where the chunk under way begins.
};

}  // namespace outlast::ingest
