#include "ingest/buffer/known_chunks.h"

namespace outlast::ingest {

void KnownChunks::remember(const ChunkId& id, Result<void> how, Instant now) {
  if (known_.emplace(id, std::move(how)).second) order_.emplace_back(now, id);
  forget(now);
}

std::optional<Result<void>> KnownChunks::find(const ChunkId& id, Instant now) {
  forget(now);
  const auto found = known_.find(id);
  return found == known_.end() ? std::nullopt : std::optional(found->second);
}

void KnownChunks::forget(Instant now) {
  while (!order_.empty() && (order_.size() > kMost || now - order_.front().first > kKeep)) {
    known_.erase(order_.front().second);
    order_.pop_front();
  }
}

}  // namespace outlast::ingest
