// The way in: room, staged chunks, what the disk refuses. chunk_flow.cc is the way out, chunk_named.cc
// knows what came under ids.
#include "ingest/buffer/chunk_buffer.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <tuple>

#include "ingest/buffer/held.h"

namespace outlast::ingest {
namespace {
using namespace std::chrono_literals;
/// A chunk that a sender waits for is not kept back to grow.
constexpr Duration kStoredWait = 10ms;
/// How often a disk that refused is asked again.
constexpr Duration kParkedWait = 200ms;
}  // namespace

ChunkBuffer::ChunkBuffer(BufferLimits limits, std::shared_ptr<ChunkStore> store, ChunkIds& ids, Clock& clock,
                         BufferHooks hooks)
    : own_({.place = {.limits = limits, .store = std::move(store)}}),
      ids_(ids),
      clock_(clock),
      hooks_(std::move(hooks)),
      last_sync_(clock.now()),
      retry_(limits.retry) {}

ChunkBuffer::~ChunkBuffer() = default;

bool ChunkBuffer::fits(std::uint64_t bytes) const {
  return side_->bytes + stats_.parked.bytes + reserved_ + bytes <= limits().total_bytes;
}

Intake::Taken ChunkBuffer::reserve(const RecordBatch& batch) {
  Calls calls;
  const std::lock_guard lock(mutex_);
  if (!parked_.empty() && clock_.now() >= next_parked_try_) write_parked(calls);
  if (closed_ || !parked_.empty() || !fits(batch.bytes())) return overflow(batch, calls);
  reserved_ += batch.bytes();
  return Intake::Taken::kYes;
}

void ChunkBuffer::release(const RecordBatch& batch) {
  Calls calls;
  const std::lock_guard lock(mutex_);
  reserved_ -= batch.bytes();
  freed(calls);  // somebody may have been told to wait because of it
}

bool ChunkBuffer::is_full() const {
  const std::lock_guard lock(mutex_);
  return full_;
}

Intake::Taken ChunkBuffer::overflow(const RecordBatch& batch, Calls& calls) {
  // Chunks that still grow would keep the room for as long as flush_interval.
  if (limits().overflow != Overflow::kDropOldestChunk) enqueue_all();
  if (!waiting_.empty()) calls.add(hooks_.work);
  const bool can_ever_fit = batch.bytes() <= limits().total_bytes;
  if (can_ever_fit && limits().overflow == Overflow::kBlock) {
    full_ = true;
    ++stats_.waits;
    return Intake::Taken::kWait;
  }
  // A disk that fails for other reasons than room is not helped by dropping what is on it.
  const bool room_helps = parked_.empty() || disk_full_;
  if (can_ever_fit && room_helps && limits().overflow == Overflow::kDropOldestChunk && !closed_) {
    do {
      if (!parked_.empty()) write_parked(calls);
      if (parked_.empty() && fits(batch.bytes())) {
        reserved_ += batch.bytes();
        return Intake::Taken::kYes;
      }
    } while (drop_oldest(calls));
  }
  return Intake::Taken::kRefused;
}

void ChunkBuffer::refuse(const RecordBatch& batch) {
  const std::lock_guard lock(mutex_);
  stats_.refused.add(batch.records(), batch.bytes());
}

ChunkBuffer::Waiting::iterator ChunkBuffer::oldest_of_side() {
  return std::ranges::find_if(waiting_, [this](const auto& one) { return one.second->side == side_; });
}

bool ChunkBuffer::drop_oldest(Calls& calls) {
  auto oldest = oldest_of_side();
  if (oldest == waiting_.end()) {
    enqueue_all();
    oldest = oldest_of_side();
  }
  if (oldest == waiting_.end()) return false;
  const auto held = oldest->second;
  waiting_.erase(oldest);
  stats_.dropped.add(held->chunk->records(), held->chunk->bytes(), 1);
  if (auto removed = held->chunk->remove(); !removed.ok()) spdlog::error("{}", removed.error().message);
  leave(held, Error(Errc::kUnavailable, "the buffer was full: its oldest chunk was dropped"), calls);
  return true;
}

void ChunkBuffer::append(const std::string& tag, const RecordBatch& batch, Ack ack, Callback<void> done) {
  Calls calls;
  const std::lock_guard lock(mutex_);
  reserved_ -= batch.bytes();
  stats_.taken.add(batch.records(), batch.bytes());
  if (source_only_) stats_.source_only.add(batch.records(), batch.bytes());
  const auto work = [&] { return std::tuple(staged_.contains(tag), waiting_.size(), dirty_.size()); };
  const auto work_before = work();
  if (parked_.empty()) {
    auto held = store(tag, batch, phase_now());
    if (held.ok()) {
      promise(**held, ack, std::move(done), calls);
      if (work() != work_before || ack == Ack::kStored) calls.add(hooks_.work);
      return;
    }
    disk_refused(held.error());
  }
  park({.tag = tag, .batch = batch, .phase = phase_now(), .ack = ack, .done = std::move(done), .name = {}}, calls);
}

void ChunkBuffer::disk_refused(const Error& why) {
  in_trouble(why);
  next_parked_try_ = clock_.now() + kParkedWait;
  spdlog::error("a buffer cannot write, and takes nothing until it can: {}", stats_.trouble);
}

void ChunkBuffer::park(Parked parked, Calls& calls) {
  stats_.parked.add(parked.batch.records(), parked.batch.bytes());
  parked_.push_back(std::move(parked));
  calls.add(hooks_.work);
}

Result<std::shared_ptr<ChunkBuffer::Held>> ChunkBuffer::make_chunk(ChunkFacts facts, Phase phase) {
  facts.id = ids_.next();
  facts.created_micros = clock_.wall_micros();
  const auto held = std::make_shared<Held>();
  ASSIGN_OR_RETURN(held->chunk, side_->place.store->create(std::move(facts)));
  held->side = side_;
  held->phase = phase;
  held->lasting = side_->place.store->lasting();
  held->since = clock_.now();
  held->due = held->since + limits().flush_interval;
  return held;
}

Result<std::shared_ptr<ChunkBuffer::Held>> ChunkBuffer::staged(const std::string& tag, Phase phase) {
  if (const auto present = staged_.find(tag); present != staged_.end()) return present->second;
  ASSIGN_OR_RETURN(const std::shared_ptr<Held> held, make_chunk({.id = {}, .tag = tag}, phase));
  staged_.emplace(tag, held);
  return held;
}

Result<std::shared_ptr<ChunkBuffer::Held>> ChunkBuffer::store(const std::string& tag, const RecordBatch& batch,
                                                              Phase phase) {
  if (const auto present = staged_.find(tag); present != staged_.end()) {
    const Held& held = *present->second;
    // Nobody takes source-only chunks for their age.
    const bool due = source_only_ && held.due <= clock_.now();
    if (due || held.phase != phase || held.chunk->bytes() + batch.bytes() > limits().chunk_bytes) enqueue(tag);
  }
  ASSIGN_OR_RETURN(const std::shared_ptr<Held> held, staged(tag, phase));
  if (auto appended = held->chunk->append(batch); !appended.ok()) {
    // A file that failed once is not written to again.
    if (held->chunk->records() > 0)
      enqueue(tag);
    else
      staged_.erase(tag);
    return std::move(appended).error();
  }
  now_holds(held, batch);
  if (held->chunk->bytes() >= limits().chunk_bytes) enqueue(tag);
  return held;
}

void ChunkBuffer::now_holds(const std::shared_ptr<Held>& held, const RecordBatch& batch) {
  stats_.held.add(batch.records(), batch.bytes());
  held->side->bytes += batch.bytes();
  if (held->chunk->records() == batch.records() && held->phase == Phase::kSourceOnly) ++source_only_chunks_;
  if (held->lasting && limits().sync != SyncPolicy::kNever && !held->dirty) now_dirty(held);
}

void ChunkBuffer::now_dirty(const std::shared_ptr<Held>& held) {
  held->dirty = true;
  dirty_.push_back(held);
}

void ChunkBuffer::promise(Held& held, Ack ack, Callback<void> done, Calls& calls) {
  if (ack == Ack::kStored) {
    held.stored.push_back(std::move(done));
    held.due = std::min(held.due, clock_.now() + kStoredWait);
  } else if (ack == Ack::kBuffered && held.dirty && limits().sync == SyncPolicy::kAlways) {
    awaiting_sync_.push_back(std::move(done));
  } else {
    calls.add(std::move(done), {});
  }
}

void ChunkBuffer::write_parked(Calls& calls) {
  std::size_t written = 0;
  for (Parked& parked : parked_) {
    if (!parked.name || !join_known(parked.name->id, parked.ack, parked.done, calls)) {
      auto held =
          parked.name ? store(*parked.name, parked.batch, parked.phase) : store(parked.tag, parked.batch, parked.phase);
      if (!held.ok()) {
        in_trouble(held.error());
        break;
      }
      promise(**held, parked.ack, std::move(parked.done), calls);
    }
    stats_.parked.records -= parked.batch.records();
    stats_.parked.bytes -= parked.batch.bytes();
    ++written;
  }
  parked_.erase(parked_.begin(), parked_.begin() + static_cast<std::ptrdiff_t>(written));
  next_parked_try_ = clock_.now() + kParkedWait;
  if (written > 0) calls.add(hooks_.work);
  if (!parked_.empty()) return;
  stats_.trouble.clear();
  spdlog::info("the buffer can write again");
  freed(calls);
}

void ChunkBuffer::in_trouble(const Error& why) {
  stats_.trouble = why.message;
  disk_full_ = why.code == Errc::kDiskFull;
}

void ChunkBuffer::enqueue(const std::string& tag) {
  const auto found = staged_.find(tag);
  const auto held = found->second;
  staged_.erase(found);
  stand_in_line(held);
}

void ChunkBuffer::stand_in_line(const std::shared_ptr<Held>& held) {
  held->sealed = true;
  held->order = next_order_++;
  close_if_idle(*held);
  waiting_.emplace(held->order, held);
}

void ChunkBuffer::enqueue_due(Instant now) {
  for (auto next = staged_.begin(); next != staged_.end();) {
    const auto current = next++;
    if (hurries_ || current->second->due <= now) enqueue(std::string(current->first));
  }
}

void ChunkBuffer::enqueue_all() {
  while (!staged_.empty()) enqueue(std::string(staged_.begin()->first));
}

void ChunkBuffer::close_if_idle(Held& held) {
  if (held.sealed && !held.dirty && !held.syncing) held.chunk->close();
}

void ChunkBuffer::freed(Calls& calls) {
  if (!full_) return;
  full_ = false;
  calls.add(hooks_.room);
}

}  // namespace outlast::ingest
