#pragma once
#include <sys/types.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "ingest/buffer/chunk.h"
#include "ingest/stats.h"

namespace outlast::ingest {

/// One chunk as a file: a header, then a frame for each batch, all little-endian.
///   header  "OUTCHUNK", version u32, tag length u32, writer u64, sequence u64, created_micros i64, tag, CRC-32C u32;
///           in version 2, of chunks that came under an id, its writer u64, sequence u64 and form u32 before the CRC
///   frame   length u32, records u32, CRC-32C u32 of these two and the batch, batch
/// The header comes with the first frame, in one write. A torn tail belongs to a batch that nobody was told is safe.
class ChunkFile final : public Chunk {
 public:
  /// A new file; it comes into being with the first append.
  ChunkFile(std::string path, ChunkFacts facts);
  ~ChunkFile() override;

  /// What became of a file that somebody left behind.
  struct Recovered {
    std::shared_ptr<ChunkFile> chunk;  ///< Null: it held nothing.
    std::uint64_t cut{0};              ///< Bytes of a torn tail that were cut off.
  };
  /// Opens a left-over file and cuts its tail behind the last whole frame. A tail that holds more than one write could
  /// have left is kept as PATH.torn. Errors: kCorrupt (it is no chunk file, or of a later version; it stays), kIo.
  static Result<Recovered> recover(const std::string& path);

  /// What a file that is left alone holds, by its frames' headers: whole or torn, nothing is checked or changed.
  static Amount measure(const std::string& path);

  const std::string& path() const { return path_; }
  Result<void> append(const RecordBatch& batch) override;
  Result<void> sync() override;
  void close() override;
  Result<void> each_batch(const BatchReader& reader) const override;
  Result<void> remove() override;
  /// When its directory is there and it is not; should that be away too, or under another disk, both may come back.
  bool is_gone() const override;

 private:
  Result<void> create();
  void note_disk(int fd);
  int duplicate() const;
  std::string path_;
  std::atomic<bool> removed_{false};  ///< By us.
  mutable std::mutex closing_;        ///< fd_ is closed by one thread while another reads or removes.
  int fd_{-1};
  dev_t disk_{0};          ///< That the file was made on.
  std::uint64_t size_{0};  ///< Of the file up to the end of its last whole frame.
  bool named_{false};      ///< The directory entry is durable.
};

}  // namespace outlast::ingest
