#pragma once
#include <atomic>
#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ingest/record_batch.h"

namespace outlast::ingest {

/// What a chunk is called for ever, wherever it goes: a receiver that has seen it takes it no second time.
struct ChunkId {
  std::uint64_t writer{0};    ///< The process that filled it: no other, here or elsewhere, has the same number.
  std::uint64_t sequence{0};  ///< Counts up in that process, over all its buffers.
  friend auto operator<=>(const ChunkId&, const ChunkId&) = default;
  /// "00000000000000a7-0000000000000001": sorts like the id.
  std::string to_string() const;
  /// kInvalidArgument when it is no id.
  static Result<ChunkId> from(std::string_view text);
};

/// Gives out the ids of one process. Thread-safety: any thread.
class ChunkIds {
 public:
  explicit ChunkIds(std::uint64_t writer) : writer_(writer) {}
  ChunkId next() { return {writer_, sequence_.fetch_add(1, std::memory_order_relaxed) + 1}; }
  std::uint64_t writer() const { return writer_; }

 private:
  std::uint64_t writer_;
  std::atomic<std::uint64_t> sequence_{0};
};

struct ChunkFacts {
  ChunkId id;  ///< Of this process, whose chunk it is.
  std::string tag;
  std::int64_t created_micros{0};  ///< Wall clock.
  std::optional<ChunkId> origin;   ///< What the records were called where they came from; nothing else is beside them.
  RecordForm form{RecordForm::kAsCame};
};

/// Records of one tag on their way to one sink: filled by its buffer, then sealed, read by the sink, and removed.
/// Thread-safety: filling by one thread at a time; sync() beside it; reading by any thread once it is sealed.
class Chunk {
 public:
  explicit Chunk(ChunkFacts facts) : facts_(std::move(facts)) {}
  virtual ~Chunk() = default;
  Chunk(const Chunk&) = delete;
  Chunk& operator=(const Chunk&) = delete;
  const ChunkFacts& facts() const { return facts_; }
  const ChunkId& id() const { return facts_.origin ? *facts_.origin : facts_.id; }
  const std::string& tag() const { return facts_.tag; }
  RecordForm form() const { return facts_.form; }
  std::uint64_t records() const { return records_; }
  std::uint64_t bytes() const { return bytes_; }  ///< Of batches, without what frames them.

  /// All of the batch or nothing of it. Errors: kDiskFull, kIo.
  virtual Result<void> append(const RecordBatch& batch) = 0;
  /// What was appended before the call survives a power cut after it. Errors: kIo.
  virtual Result<void> sync() { return {}; }
  /// Nothing is appended any more, and nobody syncs it: gives back what only writing needs.
  virtual void close() {}
  /// The batches in the order in which they came. Ends early with the reader's error. Errors: kIo, kCorrupt.
  using BatchReader = std::function<Result<void>(std::string_view batch)>;
  virtual Result<void> each_batch(const BatchReader& reader) const = 0;
  /// It comes back in no process. Errors: kIo.
  virtual Result<void> remove() { return {}; }
  /// Somebody else has removed it, and nothing can be read of it any more.
  virtual bool is_gone() const { return false; }

 protected:
  void count(std::uint64_t records, std::uint64_t bytes) {
    records_ += records;
    bytes_ += bytes;
  }

 private:
  ChunkFacts facts_;
  std::uint64_t records_{0}, bytes_{0};
};

/// Where a buffer's new chunks are made: memory or a directory. Thread-safety: none.
class ChunkStore {
 public:
  virtual ~ChunkStore() = default;
  /// An empty chunk. Errors: kDiskFull, kIo.
  virtual Result<std::shared_ptr<Chunk>> create(ChunkFacts facts) = 0;
  /// Chunks outlive this process.
  virtual bool lasting() const = 0;
};

/// In memory: lost with the process.
class MemoryChunkStore final : public ChunkStore {
 public:
  Result<std::shared_ptr<Chunk>> create(ChunkFacts facts) override;
  bool lasting() const override { return false; }
};

/// In the order in which they go to their sink: one writer's as it filled them, whatever the wall clock did meanwhile;
/// of several writers first those of the one that began first.
void oldest_first(std::vector<std::shared_ptr<Chunk>>& chunks);

}  // namespace outlast::ingest
