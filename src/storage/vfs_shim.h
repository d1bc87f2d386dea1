#pragma once
#include <sqlite3.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/ids.h"
#include "base/result.h"
#include "storage/commit_ends.h"
#include "storage/commit_sink.h"
#include "storage/disk.h"
#include "storage/wal_collect.h"
#include "storage/wal_index.h"

/// The VFS through which the databases of leading ranges are opened. It takes each transaction's pages out of SQLite's
/// WAL when SQLite syncs it, and hands them to the range's CommitSink before any reader can see them. The WAL itself
/// is scratch: never synced, never kept. docs/storage.md has the rules and where they come from.
namespace outlast::storage {

/// Switches SQLite's global statistics lock off; must run before anything else touches SQLite (later calls do nothing).
void configure_sqlite();

/// What the connections of one open database share. Thread-safety: members are atomic or belong to the holder of
/// SQLite's write lock.
struct ShimRange {
  ShimRange(CommitSink& s, Disk& d, std::string p, std::int64_t upto = 0)
      : sink(s), disk(d), path(std::move(p)), view_end(upto) {}
  CommitSink& sink;
  Disk& disk;
  const std::string path;       ///< Of the database file, as SQLite is given it.
  const std::int64_t view_end;  ///< Of a view (durable_view.h): its WAL ends here and nothing is written. Else 0.
  WalIndex wal_index;
  std::atomic<bool> fenced{false};
  std::atomic<std::uint64_t> txn_bytes_max{std::uint64_t{256} << 20};
  /// LSN of the last commit that the sink took, and of the last one that readers can see. The first runs ahead for the
  /// instant in which SQLite publishes the commit.
  std::atomic<std::uint64_t> assigned{0}, published{0};
  CommitEnds commit_ends;
  std::atomic<int> views{0};  ///< Open views: no checkpoint begins meanwhile.
  // Of the write lock's holder.
  std::int64_t tail{32};       ///< End of the last committed frame in the WAL.
  bool commit_in_hold{false};  ///< The holder of the write lock has committed.
  bool dropped{false};         ///< SQLite rolled back what the sink had taken: nothing is committed any more.
  std::unique_ptr<FramesAsWritten> as_written;  ///< Only for a planted bug.
};

/// The part of a connection that the shim keeps: its file object for the database.
struct ShimConnection {
  RequestOutcome request;
  Lsn commit_lsn;
  std::optional<Error> error;   ///< Why the sink, or the checkpoint guard, refused.
  bool writes_database{false};  ///< Only the checkpointer's connection may; any other write there is refused.
};

/// Makes the database at `range->path` openable through the VFS `shim_vfs_name()` while the returned key lives.
std::shared_ptr<void> register_range(std::shared_ptr<ShimRange> range);
const char* shim_vfs_name();

/// A VFS of its own for one view, registered with SQLite while the object lives.
class ViewVfs {
 public:
  virtual ~ViewVfs() = default;
  virtual const char* name() const = 0;
};
std::shared_ptr<ViewVfs> make_view_vfs(std::shared_ptr<ShimRange> view);

/// The shim's side of an open connection; nullptr when it was not opened through the shim.
ShimConnection* shim_connection(sqlite3* db);
/// True while the connection holds SQLite's write lock.
bool shim_holds_write_lock(sqlite3* db);
/// Syncs the database file for real. For the checkpointer.
Result<void> sync_database_file(sqlite3* db);

}  // namespace outlast::storage
