#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/loop.h"
#include "storage/disk.h"
#include "storage/log_retention.h"
#include "storage/page_file.h"
#include "storage/replica.h"

namespace outlast::storage {

struct StoreOptions {
  /// Of all replicas together, kept behind their marks for peers that return. Asked again and again.
  std::function<LogRetention::Limits()> log_retain = [] { return LogRetention::Limits(); };
  std::function<Instant()> now = [] { return Instant(); };  ///< For the age of kept log.
  std::uint64_t log_segment_bytes{std::uint64_t{16} << 20};
  std::uint64_t txn_bytes_max{std::uint64_t{256} << 20};  ///< txn.max_bytes: page images of one transaction.
  std::size_t open_segments_max{256};
  /// Runs some time later what nobody waits for and may last, on a thread that may block. Unset: it is done at once.
  std::function<void(Task)> later;
  int cache_pages{
      0};  ///< SQLite's page cache of one connection; a transaction that changes more spills. 0: SQLite's own.
  /// Bugs that tests plant to show that they would find them.
  struct Planted {
    ImageChoice image{ImageChoice::kLast};
    bool mark_before_sync{false};             ///< Moves the checkpoint mark although the database file was not synced.
    std::size_t wal_index_regions{SIZE_MAX};  ///< No bug: SQLite finds no memory for more of its wal-index.
    bool frames_as_written{false};  ///< A commit's pages are taken from SQLite's writes in their order (A5.2).
  } planted;
};

/// The replicas under `<store_path>/ranges`; makes the directory when missing and finishes what a crash interrupted.
/// `disk` must outlive the store and everything opened from it.
Result<std::unique_ptr<ReplicaStore>> open_replica_store(Disk& disk, const std::string& store_path,
                                                         const StoreOptions& options = {});

}  // namespace outlast::storage
