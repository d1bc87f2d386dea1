#pragma once
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "ingest/buffer/chunk_buffer.h"
#include "ingest/buffer/chunk_directory.h"
#include "ingest/config.h"
#include "ingest/sink/sink.h"
#include "ingest/stats.h"

namespace outlast::ingest {

/// What became of the chunks that a sink did not get before the end.
struct LeftBehind {
  Amount kept;  ///< In files: the next process goes on with them.
  Amount lost;
};

/// One sink with the buffer in front of it and the threads that empty it.
/// Thread-safety: buffer() and stats() from any thread; the rest from one.
class SinkRunner {
 public:
  struct Surroundings {
    ChunkIds& ids;
    Clock& clock;
    std::uint64_t seed;     ///< Of retry_randomize.
    std::string keep_path;  ///< Directory for chunks of a memory buffer at the end; empty: there is none.
  };
  /// `room` runs when the buffer was full and something left it. Errors: kIo, kAlreadyExists (ChunkDirectory::open).
  static Result<std::unique_ptr<SinkRunner>> open(const SinkConfig& config, std::unique_ptr<Sink> sink,
                                                  Surroundings around, std::function<void()> room);
  ~SinkRunner();

  const TagPattern& match() const { return config_.match; }
  ChunkBuffer& buffer() { return *buffer_; }
  /// Begins to flush: first what processes that are gone left behind. Until then the buffer only takes in.
  void start();
  /// Ends the threads and gives the directories free for another process. With `flush` every chunk is tried once more.
  /// Precondition: nobody appends any more.
  LeftBehind stop(bool flush);
  bool flush_at_shutdown() const { return config_.buffer.flush_at_shutdown; }
  SinkStats stats() const;

 private:
  SinkRunner(const SinkConfig& config, std::unique_ptr<Sink> sink, Surroundings around)
      : config_(config), around_(std::move(around)), random_(around_.seed), sink_(std::move(sink)) {}
  Result<void> open_buffer(std::function<void()> room);
  void wake();
  void wait(std::uint64_t seen, Instant until);
  std::uint64_t signals() const;
  void flush_loop(bool first);
  void adopt_when_due();
  void sync_loop();
  void write(const std::shared_ptr<Chunk>& chunk);
  void write_failed(const std::shared_ptr<Chunk>& chunk, const Error& why);
  void set_aside(const std::shared_ptr<Chunk>& chunk, const Error& why);
  Result<ChunkStore*> secondary();
  void end_threads(bool flush);

  const SinkConfig config_;
  Surroundings around_;
  SeededRandom random_;
  std::unique_ptr<Sink> sink_;
  std::unique_ptr<ChunkDirectory> kept_;       ///< Of a memory buffer.
  std::unique_ptr<ChunkDirectory> secondary_;  ///< Made when the first chunk goes there.
  std::unique_ptr<ChunkBuffer> buffer_;
  Instant next_adoption_{};  ///< First flush thread only.

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t signals_{0};
  bool adopted_{false};
  std::atomic<bool> draining_{false}, stopping_{false};
  SinkStats stats_;
  std::mutex aside_;  ///< Guards random_ and secondary_.
  std::vector<std::thread> flushers_;
  std::uint32_t flushing_{0};  ///< Threads of these that have not ended.
  std::thread syncer_;
  std::atomic<bool> sync_stopping_{false};
};

}  // namespace outlast::ingest
