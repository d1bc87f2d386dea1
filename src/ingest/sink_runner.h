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
  bool elsewhere{false};  ///< Some of it is at keep_path, as the disk of the file buffer refused it.
};

/// One sink with the buffer in front of it and the threads that empty it.
/// Thread-safety: buffer() and stats() from any thread; the rest from one.
class SinkRunner {
 public:
  struct Surroundings {
    ChunkIds& ids;
    Clock& clock;
    std::uint64_t seed;     ///< Of retry_randomize.
    std::string keep_path;  ///< Directory for chunks that are in no file at the end; empty: there is none.
    std::optional<BufferConfig> source_only;  ///< With this sink's own path; none: its buffer is used.
    std::vector<std::string> former;          ///< Directories that its buffers had before.
  };
  /// `room` runs when the buffer was full and something left it. Errors: kIo, kAlreadyExists (ChunkDirectory::open).
  static Result<std::unique_ptr<SinkRunner>> open(const SinkConfig& config, std::unique_ptr<Sink> sink,
                                                  Surroundings around, std::function<void()> room);
  ~SinkRunner();

  const std::string& name() const { return config_.name; }
  const TagPattern& match() const { return config_.match; }
  ChunkBuffer& buffer() { return *buffer_; }
  /// Ends source-only and begins to flush: what processes that are gone left behind, what came source-only, then the
  /// rest. Until then the buffer only takes in.
  void start();
  /// Sends what there is and what comes at once, and looks again for what dead processes left: SinkStats::is_empty().
  /// Any thread.
  void hurry(bool now);
  /// Ends the threads and gives the directories free for another process. With `flush` every chunk is tried once more.
  /// Precondition: nobody appends any more.
  LeftBehind stop(bool flush);
  bool flush_at_shutdown() const { return config_.buffer.flush_at_shutdown; }
  SinkStats stats() const;

 private:
  SinkRunner(const SinkConfig& config, std::unique_ptr<Sink> sink, Surroundings around)
      : config_(config), around_(std::move(around)), random_(around_.seed), sink_(std::move(sink)) {}
  Result<void> open_buffer(std::function<void()> room);
  Result<std::optional<BufferPlace>> open_source_only();
  void wake();
  void wait(std::uint64_t seen, Instant until);
  std::uint64_t signals() const;
  void flush_loop(std::uint32_t index);
  void wait_for_adoption(bool first);
  void adopt_when_due();
  void open_former();
  Result<void> keep(const Chunk& chunk);
  void remove_written();
  void sync_loop();
  void write(const std::shared_ptr<Chunk>& chunk);
  void write_failed(const std::shared_ptr<Chunk>& chunk, const Error& why);
  void stays_behind(const std::shared_ptr<Chunk>& chunk, const Error& why);
  void set_aside(const std::shared_ptr<Chunk>& chunk, const Error& why);
  void give_up(const Chunk& chunk, const Error& why, const char* reason);
  Result<ChunkStore*> secondary();
  void end_threads(bool flush);

  const SinkConfig config_;
  Surroundings around_;
  SeededRandom random_;
  std::unique_ptr<Sink> sink_;
  std::unique_ptr<ChunkDirectory> refuge_;       ///< Of what a file buffer's disk refused; made when it is needed.
  std::shared_ptr<ChunkDirectory> home_;         ///< The buffer's, or where a memory buffer is kept; may be null.
  std::shared_ptr<ChunkDirectory> source_only_;  ///< May be null.
  std::vector<std::unique_ptr<ChunkDirectory>> former_;  ///< First flush thread only.
  std::unique_ptr<ChunkDirectory> secondary_;            ///< Made when the first chunk goes there.
  std::unique_ptr<ChunkBuffer> buffer_;
  std::optional<Instant> next_adoption_;  ///< First flush thread only.

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t signals_{0};
  bool adopted_{false};
  std::atomic<std::uint32_t> looks_wanted_{1}, looks_done_{0};  ///< For what others left.
  std::atomic<bool> draining_{false}, stopping_{false};
  SinkStats stats_;
  std::vector<std::shared_ptr<Chunk>> unremoved_;  ///< Written, but the disk did not let go of them.
  std::mutex aside_;                               ///< Guards random_ and secondary_.
  std::vector<std::thread> flushers_;
  std::uint32_t flushing_{0};  ///< Threads of these that have not ended.
  std::thread syncer_;
  std::atomic<bool> sync_stopping_{false};
};

}  // namespace outlast::ingest
