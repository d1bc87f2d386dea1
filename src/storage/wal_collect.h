#pragma once
#include <sqlite3.h>

#include <cstdint>

#include "base/result.h"
#include "storage/commit_sink.h"

namespace outlast::storage {

// Layout of SQLite's WAL at our page size.
inline constexpr int kWalHeaderBytes = 32;
inline constexpr int kFrameHeaderBytes = 24;
inline constexpr int kFrameBytes = kFrameHeaderBytes + 4096;

/// Reads one transaction out of the WAL: the frames from offset `first` to the commit frame at `last`. Goes by the
/// file's content and not by the order of writes, because a spilled page is overwritten in place; the last image of a
/// page wins. kTooLarge above `bytes_max`. The request is left empty.
Result<CommitPages> collect_commit(sqlite3_file* wal, std::int64_t first, std::int64_t last, std::uint64_t bytes_max);

/// Only for a planted bug: one transaction's pages as a naive shim would take them, from the writes in their order. It
/// takes for granted that the content of a frame follows its header and is written once.
class FramesAsWritten {
 public:
  void note(const void* bytes, int count);
  void clear() { commit_ = {}; }
  CommitPages take();

 private:
  std::uint32_t page_{0};
  CommitPages commit_;
};

}  // namespace outlast::storage
