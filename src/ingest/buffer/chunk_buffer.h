#pragma once
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "ingest/buffer/chunk.h"
#include "ingest/buffer/known_chunks.h"
#include "ingest/buffer/retry.h"
#include "ingest/intake.h"
#include "ingest/stats.h"

namespace outlast::ingest {

enum class Overflow : std::uint8_t { kBlock, kDropOldestChunk, kReject };
enum class SyncPolicy : std::uint8_t { kAlways, kInterval, kNever };

/// Fluentd's names and meanings.
struct BufferLimits {
  std::uint64_t chunk_bytes{8U << 20};    ///< chunk_limit_size; one batch may be larger and is then a chunk.
  std::uint64_t total_bytes{512U << 20};  ///< total_limit_size
  Duration flush_interval{std::chrono::seconds(60)};
  std::uint32_t flush_threads{1};  ///< flush_thread_count: so many chunks are written at once.
  Overflow overflow{Overflow::kBlock};
  SyncPolicy sync{SyncPolicy::kInterval};
  Duration sync_interval{std::chrono::seconds(1)};
  RetryLimits retry;
};

/// Where chunks are made, and how many.
struct BufferPlace {
  BufferLimits limits;
  std::shared_ptr<ChunkStore> store;
};

/// What a buffer tells the threads that serve it; called on any thread, without its lock.
struct BufferHooks {
  std::function<void()> work;  ///< next_due() or next_sync() may be earlier than it was.
  std::function<void()> room;  ///< It was full, and something has left it.
};

/// The chunks in front of one sink. Inputs reserve and append; flushers take a chunk and say how writing it ended; one
/// thread syncs. It has no threads and reads no clock but the given one.
/// What others left behind goes first, then what came source-only, then the rest, however many flushers there are.
/// When the disk refuses, what was reserved is parked in memory and written first when it takes again.
/// Thread-safety: any thread; callbacks run without its lock.
class ChunkBuffer {
 public:
  ChunkBuffer(BufferLimits limits, std::shared_ptr<ChunkStore> store, ChunkIds& ids, Clock& clock, BufferHooks hooks);
  ~ChunkBuffer();

  /// Room for the batch: kYes reserves it, until append() or release(). The others say what Intake::Taken says, but
  /// nothing is counted: refuse() does.
  Intake::Taken reserve(const RecordBatch& batch);
  void release(const RecordBatch& batch);
  void refuse(const RecordBatch& batch);
  /// Takes what was reserved. `done` as in Intake::put.
  void append(const std::string& tag, const RecordBatch& batch, Ack ack, Callback<void> done);
  /// The same for records that came under an id: a chunk of their own, unless they are known by now.
  void append(const NamedChunk& name, const RecordBatch& batch, Ack ack, Callback<void> done);
  /// Records of this id are here, or were lately: nothing need be reserved, join() takes `done` as in Intake::put.
  bool knows(const ChunkId& id) const;
  void join(const ChunkId& id, Ack ack, Callback<void> done);
  bool is_full() const;

  /// What comes is source-only, until end_source_only(): in `apart` if given, whose chunks take none of the room that
  /// the limits give. Precondition: nothing has come yet.
  void begin_source_only(std::optional<BufferPlace> apart);
  void end_source_only();
  /// There are chunks that came source-only.
  bool holds_source_only() const;

  /// The oldest chunk that is due, for the caller to write; null: none now.
  std::shared_ptr<Chunk> take();
  /// When take() may have one; nullopt: not before the next `work`.
  std::optional<Instant> next_due() const;
  /// The sink has it, and it has been removed.
  void written(const Chunk& chunk);
  /// The sink has not; it is tried again later. False: it has been tried long enough, along with what waits behind it.
  bool failed(const Chunk& chunk, Random& random);
  /// All that wait, given up: the caller keeps them elsewhere, and says so with set_aside() or put_back().
  std::vector<std::shared_ptr<Chunk>> take_waiting();
  void set_aside(const Chunk& chunk, const Error& why);
  void put_back(const Chunk& chunk);

  /// Makes what was appended durable and tells those who wait for that.
  void sync();
  std::optional<Instant> next_sync() const;

  /// What others left behind: here, and elsewhere, where it takes no room here.
  void adopt(std::vector<std::shared_ptr<Chunk>> chunks, std::vector<std::shared_ptr<Chunk>> elsewhere = {});
  /// Everything is due now.
  void flush_all();
  /// While it hurries, whatever comes is due at once.
  void hurry(bool now);
  /// The end: what is in no file comes back (others stay for the next process), and so does what the disk refused;
  /// those who wait are told kShuttingDown.
  std::vector<std::shared_ptr<Chunk>> close();
  /// What nobody could keep.
  void lost(const Chunk& chunk);
  /// After close(): others may take the files.
  void give_up_store();

  BufferStats stats() const;
  std::uint32_t failures() const;

 private:
  struct Held;
  struct Parked;
  class Calls;
  using Order = std::int64_t;
  using Waiting = std::map<Order, std::shared_ptr<Held>>;
  /// What a chunk is, in the order in which they go.
  enum class Phase : std::uint8_t { kLeftOver, kSourceOnly, kOrdinary };
  struct Side {
    BufferPlace place;
    std::uint64_t bytes{0};  ///< Held.
  };

  const BufferLimits& limits() const { return side_->place.limits; }
  Phase phase_now() const { return source_only_ ? Phase::kSourceOnly : Phase::kOrdinary; }
  bool may_go(const Held& next) const;
  bool fits(std::uint64_t bytes) const;
  Intake::Taken overflow(const RecordBatch& batch, Calls& calls);
  bool drop_oldest(Calls& calls);
  Waiting::iterator oldest_of_side();
  void disk_refused(const Error& why);
  void park(Parked parked, Calls& calls);
  std::shared_ptr<Chunk> in_memory(const Parked& parked);
  Result<std::shared_ptr<Held>> store(const std::string& tag, const RecordBatch& batch, Phase phase);
  Result<std::shared_ptr<Held>> store(const NamedChunk& name, const RecordBatch& batch, Phase phase);
  Result<std::shared_ptr<Held>> make_chunk(ChunkFacts facts, Phase phase);
  Result<std::shared_ptr<Held>> staged(const std::string& tag, Phase phase);
  bool join_known(const ChunkId& id, Ack ack, Callback<void>& done, Calls& calls);
  void now_holds(const std::shared_ptr<Held>& held, const RecordBatch& batch);
  void now_dirty(const std::shared_ptr<Held>& held);
  void stand_in_line(const std::shared_ptr<Held>& held);
  void remember(const Chunk& chunk, Result<void> how);
  void promise(Held& held, Ack ack, Callback<void> done, Calls& calls);
  void write_parked(Calls& calls);
  void in_trouble(const Error& why);
  void enqueue(const std::string& tag);
  void enqueue_due(Instant now);
  void enqueue_all();
  void leave(const std::shared_ptr<Held>& held, Result<void> how, Calls& calls);
  std::shared_ptr<Held> return_from_flight(const Chunk& chunk, Calls& calls);
  void freed(Calls& calls);
  void close_if_idle(Held& held);

  Side own_, apart_;
  Side* side_{&own_};  ///< Where new chunks are made.
  bool source_only_{false}, hurries_{false};
  std::size_t source_only_chunks_{0};
  ChunkIds& ids_;
  Clock& clock_;
  const BufferHooks hooks_;

  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Held>> staged_;
  Waiting waiting_;
  std::map<const Chunk*, std::shared_ptr<Held>> in_flight_;
  std::map<ChunkId, std::shared_ptr<Held>> named_;  ///< Of these and waiting_, those that came under an id.
  mutable KnownChunks known_;
  std::vector<Parked> parked_;
  Instant next_parked_try_{};
  bool disk_full_{false};  ///< Why there is something parked.
  std::vector<std::shared_ptr<Held>> dirty_;
  std::vector<Callback<void>> awaiting_sync_;
  Instant last_sync_{};
  RetryState retry_;
  Order next_order_{0}, first_order_{0};
  std::uint64_t reserved_{0};
  bool full_{false};
  bool closed_{false};
  BufferStats stats_;  ///< `held.records` and `held.bytes` are kept up; the rest of what is held is counted when asked.
};

}  // namespace outlast::ingest
