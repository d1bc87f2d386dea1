// Records that came under an id: a chunk of their own, and only one, in a buffer.
#include "ingest/buffer/chunk_buffer.h"
#include "ingest/buffer/held.h"

namespace outlast::ingest {

void ChunkBuffer::append(const NamedChunk& name, const RecordBatch& batch, Ack ack, Callback<void> done) {
  Calls calls;
  const std::lock_guard lock(mutex_);
  reserved_ -= batch.bytes();
  if (join_known(name.id, ack, done, calls)) return freed(calls);
  stats_.taken.add(batch.records(), batch.bytes());
  if (source_only_) stats_.source_only.add(batch.records(), batch.bytes());
  if (parked_.empty()) {
    auto held = store(name, batch, phase_now());
    if (held.ok()) {
      promise(**held, ack, std::move(done), calls);
      return calls.add(hooks_.work);
    }
    disk_refused(held.error());
  }
  park({.tag = name.tag, .batch = batch, .phase = phase_now(), .ack = ack, .done = std::move(done), .name = name},
       calls);
}

bool ChunkBuffer::knows(const ChunkId& id) const {
  const std::lock_guard lock(mutex_);
  return named_.contains(id) || known_.find(id, clock_.now()).has_value();
}

void ChunkBuffer::join(const ChunkId& id, Ack ack, Callback<void> done) {
  Calls calls;
  const std::lock_guard lock(mutex_);
  if (!join_known(id, ack, done, calls))
    calls.add(std::move(done), Error(Errc::kUnavailable, "these records have just been dropped; send them again"));
}

bool ChunkBuffer::join_known(const ChunkId& id, Ack ack, Callback<void>& done, Calls& calls) {
  if (const auto found = named_.find(id); found != named_.end()) {
    const auto& held = found->second;
    if (held->doubtful && ack == Ack::kBuffered) {
      calls.add(std::move(done), Error(Errc::kIo, "the records are here, but the disk does not keep them"));
      return true;
    }
    if (held->syncing && !held->dirty) now_dirty(held);  // whoever comes now waits for a sync that begins now
    promise(*held, ack, std::move(done), calls);
    calls.add(hooks_.work);
    return true;
  }
  auto how = known_.find(id, clock_.now());
  if (!how) return false;
  calls.add(std::move(done), ack == Ack::kReceived ? Result<void>() : *std::move(how));
  return true;
}

Result<std::shared_ptr<ChunkBuffer::Held>> ChunkBuffer::store(const NamedChunk& name, const RecordBatch& batch,
                                                              Phase phase) {
  ASSIGN_OR_RETURN(const std::shared_ptr<Held> held,
                   make_chunk({.id = {}, .tag = name.tag, .origin = name.id, .form = name.form}, phase));
  TRY(held->chunk->append(batch));
  now_holds(held, batch);
  named_.emplace(name.id, held);
  stand_in_line(held);
  return held;
}

void ChunkBuffer::remember(const Chunk& chunk, Result<void> how) {
  if (const auto& origin = chunk.facts().origin) known_.remember(*origin, std::move(how), clock_.now());
}

}  // namespace outlast::ingest
