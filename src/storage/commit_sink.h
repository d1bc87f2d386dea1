#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace outlast::storage {

/// Who asked for a write and how it ended, kept in the log entry's header (protocol A5.6). gateway 0 = internal write.
struct RequestOutcome {
  std::uint64_t gateway{0};   ///< The gateway's process (replication/request_id.h).
  std::uint64_t sequence{0};  ///< The gateway's own counter.
  std::int64_t changes{0};    ///< Rows, for the command tag.
  std::string tag;            ///< E.g. "INSERT"; empty for COMMIT of a transaction.
  std::string result;         ///< What RETURNING gave, in the executor's encoding; empty: nothing, or too much to keep.
};
inline constexpr std::size_t kResultBytesMax = 4096;

/// One committed transaction, as collected from SQLite's WAL: the last image of each page, pages > db_pages left out.
struct CommitPages {
  std::uint32_t page_size{4096};
  std::uint32_t db_pages{0};  ///< Size of the database after the commit.
  RequestOutcome request;
  std::vector<std::pair<std::uint32_t, std::string>> pages;  ///< Page number (from 1) and image, ascending.
};

/// Where the VFS shim hands a commit over, inside the sync of the WAL and before any reader can see it (A5.1).
/// Implemented by replication. Thread-safety: called on SQL threads, one commit of a range at a time.
class CommitSink {
 public:
  virtual ~CommitSink() = default;
  /// Assigns the next LSN and queues the entry. Everything that can fail does so here, before the LSN exists; then
  /// SQLite rolls the transaction back. Must not block on the network.
  virtual Result<Lsn> commit(CommitPages pages) = 0;
  /// SQLite failed behind a commit that was taken, and rolled it back: the log holds a transaction that the database
  /// does not show. It commits nothing more; it must be closed and opened again from the log, in a new epoch (A5.4).
  virtual void commit_dropped(Lsn) { OUTLAST_ASSERT(false, "SQLite dropped a commit that the range log holds"); }
  /// Blocks until every assigned LSN is durable on all in-sync replicas (the checkpoint guard), or fails when the
  /// leadership ended or `patience` has passed.
  virtual Result<void> wait_all_durable() = 0;
  virtual Lsn assigned() const = 0;
  /// Up to here every in-sync replica has the log on disk.
  virtual Lsn durable() const = 0;
};

}  // namespace outlast::storage
