// The way out of a ChunkBuffer: to the sink, to the disk, to the next process.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "ingest/buffer/chunk_buffer.h"
#include "ingest/buffer/held.h"

namespace outlast::ingest {

std::shared_ptr<Chunk> ChunkBuffer::take() {
  Calls calls;
  const std::lock_guard lock(mutex_);
  const Instant now = clock_.now();
  if (!parked_.empty() && now >= next_parked_try_) write_parked(calls);
  enqueue_due(now);
  if (closed_ || waiting_.empty() || (retry_.next() && now < *retry_.next())) return nullptr;
  const auto held = waiting_.begin()->second;
  waiting_.erase(waiting_.begin());
  in_flight_.emplace(held->chunk.get(), held);
  return held->chunk;
}

std::optional<Instant> ChunkBuffer::next_due() const {
  const std::lock_guard lock(mutex_);
  std::optional<Instant> next;
  const auto sooner = [&next](Instant at) { next = next ? std::min(*next, at) : at; };
  if (!waiting_.empty()) sooner(retry_.next().value_or(Instant{}));
  for (const auto& [tag, held] : staged_) sooner(held->due);
  if (!parked_.empty()) sooner(next_parked_try_);
  return next;
}

std::shared_ptr<ChunkBuffer::Held> ChunkBuffer::return_from_flight(const Chunk& chunk) {
  const auto found = in_flight_.find(&chunk);
  OUTLAST_ASSERT(found != in_flight_.end(), "a chunk came back that had not been taken");
  auto held = std::move(found->second);
  in_flight_.erase(found);
  return held;
}

void ChunkBuffer::leave(const std::shared_ptr<Held>& held, Result<void> how, Calls& calls) {
  stats_.held.records -= held->chunk->records();
  stats_.held.bytes -= held->chunk->bytes();
  for (auto& done : held->stored) calls.add(std::move(done), how);
  held->stored.clear();
  freed(calls);
}

void ChunkBuffer::written(const Chunk& chunk) {
  Calls calls;
  const std::lock_guard lock(mutex_);
  retry_.succeeded();
  leave(return_from_flight(chunk), {}, calls);
}

bool ChunkBuffer::failed(const Chunk& chunk, Random& random) {
  const std::lock_guard lock(mutex_);
  const auto held = return_from_flight(chunk);
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
  leave(return_from_flight(chunk), why, calls);
}

void ChunkBuffer::put_back(const Chunk& chunk) {
  const std::lock_guard lock(mutex_);
  const auto held = return_from_flight(chunk);
  waiting_.emplace(held->order, held);
}

std::optional<Instant> ChunkBuffer::next_sync() const {
  const std::lock_guard lock(mutex_);
  if (dirty_.empty()) return std::nullopt;
  return limits_.sync == SyncPolicy::kAlways ? Instant{} : last_sync_ + limits_.sync_interval;
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

void ChunkBuffer::adopt_left_over() {
  Calls calls;
  auto chunks = store_->left_over();  // reads files: not under the lock
  if (chunks.empty()) return;
  const std::lock_guard lock(mutex_);
  first_order_ -= static_cast<Order>(chunks.size());
  Order order = first_order_;
  for (auto& chunk : chunks) {
    stats_.held.add(chunk->records(), chunk->bytes());
    stats_.replayed.add(chunk->records(), chunk->bytes(), 1);
    auto held = std::make_shared<Held>();
    held->chunk = std::move(chunk);
    held->sealed = true;
    held->order = order++;
    waiting_.emplace(held->order, held);
  }
  calls.add(hooks_.work);
}

void ChunkBuffer::flush_all() {
  Calls calls;
  const std::lock_guard lock(mutex_);
  if (!parked_.empty()) write_parked(calls);
  enqueue_all();
  calls.add(hooks_.work);
}

std::vector<std::shared_ptr<Chunk>> ChunkBuffer::close() {
  flush_all();
  if (limits_.sync != SyncPolicy::kNever) sync();
  Calls calls;
  const std::lock_guard lock(mutex_);
  closed_ = true;
  const Error later(Errc::kShuttingDown, "this process ends; what it has not written yet is kept for the next one");
  std::vector<std::shared_ptr<Chunk>> homeless;
  for (const auto& [order, held] : waiting_) {
    for (auto& done : held->stored) calls.add(std::move(done), later);
    held->stored.clear();
    if (!store_->lasting()) homeless.push_back(held->chunk);
  }
  for (Parked& parked : parked_) {
    stats_.dropped.add(parked.batch.records(), parked.batch.bytes());
    calls.add(std::move(parked.done), Error(Errc::kDiskFull, "lost: " + stats_.trouble));
  }
  if (!parked_.empty())
    spdlog::error("{} records that nobody was told are safe are lost: {}", stats_.parked.records, stats_.trouble);
  parked_.clear();
  stats_.parked = {};
  freed(calls);
  return homeless;
}

void ChunkBuffer::lost(const Chunk& chunk) {
  const std::lock_guard lock(mutex_);
  stats_.dropped.add(chunk.records(), chunk.bytes(), 1);
}

void ChunkBuffer::give_up_store() {
  const std::lock_guard lock(mutex_);
  waiting_.clear();
  store_.reset();
}

BufferStats ChunkBuffer::stats() const {
  const std::lock_guard lock(mutex_);
  BufferStats stats = stats_;
  stats.waiting = waiting_.size();
  stats.held.chunks = staged_.size() + waiting_.size() + in_flight_.size();
  stats.full = full_;
  const auto see = [&stats](const Held& held) {
    const std::int64_t created = held.chunk->facts().created_micros;
    if (stats.oldest_created_micros == 0 || created < stats.oldest_created_micros)
      stats.oldest_created_micros = created;
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
