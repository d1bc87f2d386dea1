#pragma once
#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <utility>

#include "base/loop.h"
#include "base/result.h"
#include "ingest/buffer/chunk.h"

namespace outlast::ingest {

/// What became of the chunks that came under an id and have left their buffer: of the last 10,000, for an hour.
/// Thread-safety: none.
class KnownChunks {
 public:
  static constexpr std::size_t kMost = 10'000;
  static constexpr Duration kKeep = std::chrono::hours(1);

  void remember(const ChunkId& id, Result<void> how, Instant now);
  /// nullopt: we do not know it (any more).
  std::optional<Result<void>> find(const ChunkId& id, Instant now);

 private:
  void forget(Instant now);
  std::map<ChunkId, Result<void>> known_;
  std::deque<std::pair<Instant, ChunkId>> order_;
};

}  // namespace outlast::ingest
