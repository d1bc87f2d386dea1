#pragma once
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <string>
#include <vector>

#include "ingest/buffer/unclaimed.h"
#include "ingest/config.h"
#include "ingest/intake.h"
#include "ingest/sink_runner.h"
#include "ingest/stats.h"

namespace outlast::ingest {

struct PipelineOptions {
  /// The number that this process writes chunks under: no other process, here or where chunks are forwarded to, ever
  /// has the same. 0: the wall clock's microseconds and 12 random bits.
  std::uint64_t writer{0};
  /// Where what memory buffers hold goes at the end, NAME/ for each sink; and what is known of directories of buffers.
  /// Empty: both are lost.
  std::string keep_path;
  std::uint64_t seed{1};  ///< Of retry_randomize.
};

/// Makes sinks of the kinds that the room does not have.
using SinkMaker = std::function<Result<std::unique_ptr<Sink>>(const SinkConfig&, const Decoder&)>;

/// From inputs to sinks: each batch goes into the buffers of all sinks that its tag matches.
///   open()         buffers take in, as [source_only_buffer] says if there is one; nothing is flushed (source-only)
///   start_sinks()  flushes: first what processes that are gone left behind, then what came source-only
///   stop(), hand_over()  the end
/// Thread-safety: put(), on_room() and stats() from any thread; the rest from one. Lifetime: `clock` outlives it.
class Pipeline final : public Intake {
 public:
  /// Errors: kInvalidArgument (a parser, a sink that needs a database), kIo (a buffer's directory).
  static Result<std::unique_ptr<Pipeline>> open(const IngestConfig& config, PipelineOptions options, Clock& clock,
                                                const SinkMaker& other_sinks = nullptr);
  ~Pipeline() override;

  /// A tag without a sink is taken and counted, and `done` gets kNotFound unless the ack is kReceived.
  /// A sink that refuses (reject) takes its part alone if the ack is kReceived; otherwise nothing is taken.
  Taken put(const std::string& tag, RecordBatch& batch, Ack ack, Callback<void> done) override;
  /// A sink takes all of it or nothing, and then no sink takes what it does not have yet.
  Taken put_named(const NamedChunk& chunk, RecordBatch& batch, Ack ack, Callback<void> done) override;
  void on_room(Task room) override;

  void start_sinks();
  /// Whatever waits or comes goes to its sink at once, if the sinks are started. Any thread.
  void hurry(bool now);
  /// Flushes the buffers with flush_at_shutdown, each chunk tried once more; what is left is kept.
  LeftBehind stop();
  /// Flushes nothing; what is left is kept for the next process, which may take it when this returns.
  LeftBehind hand_over();
  PipelineStats stats() const;
  /// The parsers of the tags, for sinks that are made elsewhere.
  const Decoder& decoder() const { return decoder_; }

 private:
  using Route = std::vector<SinkRunner*>;
  Pipeline(PipelineOptions options, Clock& clock);
  Result<void> add_sink(const SinkConfig& config, const SinkMaker& other_sinks);
  Result<void> find_directories(const IngestConfig& config);
  std::string under_keep(const std::string& name) const;
  void note_directory(const BufferDirectory& directory);
  Result<std::unique_ptr<Sink>> make_sink(const SinkConfig& config, const SinkMaker& other_sinks) const;
  Route find_route(const std::string& tag) const;
  const Route& route(const std::string& tag);
  Taken reserve(const Route& route, const RecordBatch& batch, Ack ack, Route& granted);
  template <class Put>
  Taken while_open(const RecordBatch& batch, Callback<void> done, const Put& put);
  Taken put_open(const std::string& tag, RecordBatch& batch, Ack ack, Callback<void> done);
  Taken put_named_open(const NamedChunk& chunk, RecordBatch& batch, Ack ack, Callback<void> done);
  void unmatched(const std::string& tag, RecordBatch& batch, Ack ack, Callback<void> done);
  void run_waiters();
  LeftBehind end(bool flush);

  PipelineOptions options_;
  Clock& clock_;
  ChunkIds ids_;
  Decoder decoder_;
  std::optional<BufferConfig> source_only_;
  KnownDirectories known_;
  std::vector<BufferDirectory> in_use_, former_;
  std::vector<std::unique_ptr<SinkRunner>> runners_;
  UnclaimedBuffers unclaimed_;
  std::shared_mutex routes_mutex_;
  std::map<std::string, Route> routes_;
  std::mutex waiters_mutex_;
  std::vector<Task> waiters_;
  std::atomic<bool> closed_{false};
  std::atomic<std::uint32_t> puts_{0};  ///< Under way.
  std::atomic<std::uint64_t> unmatched_records_{0}, unmatched_bytes_{0};
};

}  // namespace outlast::ingest
