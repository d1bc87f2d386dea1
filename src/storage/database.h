#pragma once
#include <sqlite3.h>

#include <functional>
#include <memory>
#include <string>

#include "base/ids.h"
#include "base/result.h"
#include "storage/commit_sink.h"

namespace outlast::storage {

class Database;

/// A SQLite connection to a leading range, through the VFS shim. Thread-safety: one thread at a time; interrupt() from
/// any. Lifetime: must not outlive its Database.
class Connection {
 public:
  virtual ~Connection() = default;
  virtual sqlite3* raw() = 0;
  /// Request that the next commit on this connection is recorded under.
  virtual void set_request(RequestOutcome request) = 0;
  /// LSN that the latest commit on this connection got; 0 when it wrote no frames. Reset by take.
  virtual Lsn take_commit_lsn() = 0;
  /// Why the sink refused the latest commit, when SQLite only says SQLITE_IOERR; kInternal when it did not.
  virtual Error take_commit_error() = 0;
  virtual void interrupt() = 0;
};

/// The SQLite side of a range that this node leads: connections, checkpoints. Opened by Replica::open_database with
/// the database file at the end of the log and a fresh WAL; closing it never checkpoints.
/// Thread-safety: all members from any thread.
class Database {
 public:
  virtual ~Database() = default;
  /// A new connection: WAL, synchronous=FULL, no automatic checkpoint, DEFENSIVE, foreign_keys on, busy_timeout 0.
  /// Blocks for about 0.1 ms.
  virtual Result<std::unique_ptr<Connection>> connect() = 0;
  /// Passive checkpoint of durable frames into the database file; advances the checkpoint mark and frees log when all
  /// frames were copied (A5.5). Blocks. Returns the mark.
  virtual Result<Lsn> checkpoint() = 0;
  virtual std::uint64_t wal_bytes() const = 0;
  /// The database as it is at `durable`, read-only, beside this one; its own checkpoints wait until the view is gone.
  /// Precondition: `durable` is not below the checkpoint mark. Blocks for some milliseconds.
  virtual Result<std::shared_ptr<Database>> durable_view(Lsn durable) = 0;
  /// No commit succeeds any more (the sink refuses too); running statements are interrupted.
  virtual void fence() = 0;
};

}  // namespace outlast::storage
