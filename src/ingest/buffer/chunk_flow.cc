// The way out of a ChunkBuffer: to the sink, to the disk, to the next process.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>

#include "ingest/buffer/chunk_buffer.h"
#include "ingest/buffer/held.h"

namespace outlast::ingest {

bool ChunkBuffer::may_go(const Held& next) const {
  for (const auto& [chunk, held] : in_flight_)
    if (held->phase < next.phase) return false;
  const Side& whose = next.phase == Phase::kSourceOnly ? *next.side : own_;
  return in_flight_.size() < whose.place.limits.flush_threads;
}

std::shared_ptr<Chunk> ChunkBuffer::take() {
  Calls calls;
  const std::lock_guard lock(mutex_);
  const Instant now = clock_.now();
  if (!parked_.empty() && now >= next_parked_try_) write_parked(calls);
  enqueue_due(now);
  if (closed_ || waiting_.empty() || (retry_.next() && now < *retry_.next())) return nullptr;
  const auto held = waiting_.begin()->second;
  if (!may_go(*held)) return nullptr;
  waiting_.erase(waiting_.begin());
  in_flight_.emplace(held->chunk.get(), held);
  return held->chunk;
}

std::optional<Instant> ChunkBuffer::next_due() const {
  const std::lock_guard lock(mutex_);
  std::optional<Instant> next;
  const auto sooner = [&next](Instant at) { next = next ? std::min(*next, at) : at; };
  if (!waiting_.empty() && may_go(*waiting_.begin()->second)) sooner(retry_.next().value_or(Instant{}));
  for (const auto& [tag, held] : staged_) sooner(hurries_ ? Instant{} : held->due);
  if (!parked_.empty()) sooner(next_parked_try_);
  return next;
}

std::shared_ptr<ChunkBuffer::Held> ChunkBuffer::return_from_flight(const Chunk& chunk, Calls& calls) {
  const auto found = in_flight_.find(&chunk);
  OUTLAST_ASSERT(found != in_flight_.end(), "a chunk came back that had not been taken");
  auto held = std::move(found->second);
  in_flight_.erase(found);
  // Others wait until it is their turn.
  if (held->phase != Phase::kOrdinary) calls.add(hooks_.work);
  return held;
}

void ChunkBuffer::leave(const std::shared_ptr<Held>& held, Result<void> how, Calls& calls) {
  stats_.held.records -= held->chunk->records();
  stats_.held.bytes -= held->chunk->bytes();
  held->side->bytes -= held->chunk->bytes();
  if (held->phase == Phase::kSourceOnly) {
    --source_only_chunks_;
    if (how.ok()) stats_.source_only_replayed.add(held->chunk->records(), held->chunk->bytes(), 1);
  }
  for (auto& done : held->stored) calls.add(std::move(done), how);
  held->stored.clear();
  if (const auto& origin = held->chunk->facts().origin) named_.erase(*origin);
  freed(calls);
}

void ChunkBuffer::written(const Chunk& chunk) {
  Calls calls;
  const std::lock_guard lock(mutex_);
  retry_.succeeded();
  remember(chunk, {});
  leave(return_from_flight(chunk, calls), {}, calls);
}

bool ChunkBuffer::failed(const Chunk& chunk, Random& random) {
  Calls calls;
  const std::lock_guard lock(mutex_);
  const auto held = return_from_flight(chunk, calls);
  waiting_.emplace(held->order, held);
  return retry_.failed(clock_.now(), random).has_value();
}

std::vector<std::shared_ptr<Chunk>> ChunkBuffer::take_waiting() {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Chunk>> chunks;
  for (const auto& [order, held] : waiting_) {
    in_flight_.emplace(held->chunk.get(), held);
    chunks.push_back(held->chunk);
  }
  waiting_.clear();
  return chunks;
}

void ChunkBuffer::set_aside(const Chunk& chunk, const Error& why) {
  Calls calls;
  const std::lock_guard lock(mutex_);
  remember(chunk, why);
  leave(return_from_flight(chunk, calls), why, calls);
}

void ChunkBuffer::put_back(const Chunk& chunk) {
  Calls calls;
  const std::lock_guard lock(mutex_);
  const auto held = return_from_flight(chunk, calls);
  waiting_.emplace(held->order, held);
}

std::optional<Instant> ChunkBuffer::next_sync() const {
  const std::lock_guard lock(mutex_);
  if (dirty_.empty()) return std::nullopt;
  // What somebody waits for may have come under other limits than those of now.
  const bool at_once = limits().sync == SyncPolicy::kAlways || !awaiting_sync_.empty();
  return at_once ? Instant{} : last_sync_ + limits().sync_interval;
}

void ChunkBuffer::sync() {
  std::vector<std::shared_ptr<Held>> dirty;
  std::vector<Callback<void>> waiters;
  {
    const std::lock_guard lock(mutex_);
    last_sync_ = clock_.now();
    dirty.swap(dirty_);
    waiters.swap(awaiting_sync_);
    for (const auto& held : dirty) {
      held->dirty = false;
      held->syncing = true;
    }
  }
  Result<void> synced;
  for (const auto& held : dirty)
    if (auto one = held->chunk->sync(); !one.ok()) synced = std::move(one);
  Calls calls;
  const std::lock_guard lock(mutex_);
  for (const auto& held : dirty) {
    held->syncing = false;
    held->doubtful = held->doubtful || !synced.ok();
    close_if_idle(*held);
  }
  if (parked_.empty()) stats_.trouble = synced.ok() ? "" : synced.error().message;
  if (!synced.ok()) {
    // After a failed sync the kernel may have dropped what it could not write: nothing more goes into these files.
    spdlog::error("a buffer is not durable: {}", synced.error().message);
    enqueue_all();
    calls.add(hooks_.work);
  }
  for (auto& done : waiters) calls.add(std::move(done), synced);
}

void ChunkBuffer::adopt(std::vector<std::shared_ptr<Chunk>> chunks, std::vector<std::shared_ptr<Chunk>> elsewhere) {
  if (chunks.empty() && elsewhere.empty()) return;
  std::set<const Chunk*> apart;
  for (auto& chunk : elsewhere) {
    apart.insert(chunk.get());
    chunks.push_back(std::move(chunk));
  }
  oldest_first(chunks);
  Calls calls;
  const std::lock_guard lock(mutex_);
  first_order_ -= static_cast<Order>(chunks.size());
  Order order = first_order_;
  const std::int64_t wall = clock_.wall_micros();
  for (auto& chunk : chunks) {
    const auto origin = chunk->facts().origin;
    if (origin && (named_.contains(*origin) || known_.find(*origin, clock_.now()))) {
      // Its sender has sent it again, to this process.
      if (auto removed = chunk->remove(); !removed.ok()) spdlog::error("{}", removed.error().message);
      continue;
    }
    stats_.held.add(chunk->records(), chunk->bytes());
    stats_.replayed.add(chunk->records(), chunk->bytes(), 1);
    auto held = std::make_shared<Held>();
    held->side = apart.contains(chunk.get()) ? &apart_ : &own_;
    held->side->bytes += chunk->bytes();
    held->phase = Phase::kLeftOver;
    held->lasting = true;
    held->since =
        clock_.now() - std::chrono::microseconds(std::max<std::int64_t>(wall - chunk->facts().created_micros, 0));
    held->sealed = true;
    held->order = order++;
    held->chunk = std::move(chunk);
    if (origin) named_.emplace(*origin, held);
    waiting_.emplace(held->order, held);
  }
  calls.add(hooks_.work);
}

void ChunkBuffer::begin_source_only(std::optional<BufferPlace> apart) {
  const std::lock_guard lock(mutex_);
  source_only_ = true;
  if (!apart) return;
  apart_.place = *std::move(apart);
  side_ = &apart_;
}

void ChunkBuffer::end_source_only() {
  Calls calls;
  const std::lock_guard lock(mutex_);
  source_only_ = false;
  enqueue_all();
  side_ = &own_;
  if (!parked_.empty()) write_parked(calls);  // our own disk may be another one
  freed(calls);
  calls.add(hooks_.work);
}

bool ChunkBuffer::holds_source_only() const {
  const std::lock_guard lock(mutex_);
  return source_only_chunks_ > 0;
}

void ChunkBuffer::flush_all() {
  Calls calls;
  const std::lock_guard lock(mutex_);
  if (!parked_.empty()) write_parked(calls);
  enqueue_all();
  calls.add(hooks_.work);
}

void ChunkBuffer::hurry(bool now) {
  Calls calls;
  const std::lock_guard lock(mutex_);
  hurries_ = now;
  calls.add(hooks_.work);
}

std::vector<std::shared_ptr<Chunk>> ChunkBuffer::close() {
  flush_all();
  sync();
  Calls calls;
  const std::lock_guard lock(mutex_);
  closed_ = true;
  const Error later(Errc::kShuttingDown, "this process ends; what it has not written yet is kept for the next one");
  std::vector<std::shared_ptr<Chunk>> homeless;
  for (const auto& [order, held] : waiting_) {
    for (auto& done : held->stored) calls.add(std::move(done), later);
    held->stored.clear();
    if (!held->lasting) homeless.push_back(held->chunk);
  }
  for (Parked& parked : parked_) {
    homeless.push_back(in_memory(parked));
    stats_.held.add(parked.batch.records(), parked.batch.bytes());
    calls.add(std::move(parked.done), later);
  }
  parked_.clear();
  stats_.parked = {};
  freed(calls);
  return homeless;
}

std::shared_ptr<Chunk> ChunkBuffer::in_memory(const Parked& parked) {
  ChunkFacts facts{.id = ids_.next(), .tag = parked.tag, .created_micros = clock_.wall_micros()};
  if (parked.name) {
    facts.origin = parked.name->id;
    facts.form = parked.name->form;
  }
  auto chunk = MemoryChunkStore().create(std::move(facts));
  OUTLAST_ASSERT(chunk.ok() && (*chunk)->append(parked.batch).ok(), "memory refuses nothing");
  return *std::move(chunk);
}

void ChunkBuffer::lost(const Chunk& chunk) {
  const std::lock_guard lock(mutex_);
  stats_.dropped.add(chunk.records(), chunk.bytes(), 1);
}

void ChunkBuffer::give_up_store() {
  const std::lock_guard lock(mutex_);
  waiting_.clear();
  named_.clear();
  own_.place.store.reset();
  apart_.place.store.reset();
}

BufferStats ChunkBuffer::stats() const {
  const std::lock_guard lock(mutex_);
  BufferStats stats = stats_;
  stats.waiting = waiting_.size();
  stats.held.chunks = staged_.size() + waiting_.size() + in_flight_.size();
  stats.full = full_;
  const auto see = [&stats, now = clock_.now()](const Held& held) {
    stats.oldest_nanos = std::max<std::int64_t>(stats.oldest_nanos, (now - held.since).count());
  };
  for (const auto& [tag, held] : staged_) see(*held);
  for (const auto& [order, held] : waiting_) see(*held);
  for (const auto& [chunk, held] : in_flight_) see(*held);
  return stats;
}

std::uint32_t ChunkBuffer::failures() const {
  const std::lock_guard lock(mutex_);
  return retry_.failures();
}

}  // namespace outlast::ingest
