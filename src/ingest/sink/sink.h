#pragma once
#include <memory>

#include "base/loop.h"
#include "ingest/buffer/chunk.h"

namespace outlast::ingest {

/// Where chunks end. The table sink is the server's.
/// Thread-safety: write() is called on flush threads, several at once unless one_at_a_time().
class Sink {
 public:
  virtual ~Sink() = default;
  /// Writes all records of the chunk, and then calls back, on any thread, inline too; the sink may keep the chunk until
  /// then. The same chunk comes again after an error, and after a crash of this process between the write and what
  /// follows it: its id tells. After kUnavailable and most errors it is tried again; after those that is_final() knows
  /// it is set aside.
  virtual void write(std::shared_ptr<const Chunk> chunk, Callback<void> done) = 0;
  /// No write before the one before has ended and its chunk was removed.
  virtual bool one_at_a_time() const { return false; }
  /// From any thread: a write under way ends soon, done or with kShuttingDown, and so do all that follow.
  virtual void stop() {}
};

/// A chunk that met this error can never be written: kCorrupt, kTooLarge, kInvalidText, kInvalidArgument.
bool is_final(const Error& error);

}  // namespace outlast::ingest
