#pragma once
#include <memory>
#include <mutex>
#include <string>

#include "storage/connection_impl.h"
#include "storage/replica_files.h"
#include "storage/vfs_shim.h"

namespace outlast::storage {

/// See Database. `files` hold the database file at the log's end when it is opened.
class DatabaseImpl final : public Database, public std::enable_shared_from_this<DatabaseImpl> {
 public:
  static Result<std::shared_ptr<DatabaseImpl>> open(std::shared_ptr<ReplicaFiles> files, CommitSink& sink);
  ~DatabaseImpl() override;

  Result<std::unique_ptr<Connection>> connect() override;
  Result<Lsn> checkpoint() override;
  Result<std::shared_ptr<Database>> durable_view(Lsn durable) override;
  std::uint64_t wal_bytes() const override;
  void fence() override;

  struct Held {
    LogPosition at;
    std::shared_ptr<HeldFile> file;
  };
  /// The database file exactly at one position, while commits go on. It is copied to `path` before the next checkpoint
  /// changes it; at once when what holds that position is not all in the file.
  Result<Held> hold(const std::string& path);
  /// The digest of the file itself when a checkpoint covers everything; else (a long reader) of a copy at `path`.
  Result<Digest> digest(const std::string& path);

 private:
  DatabaseImpl(std::shared_ptr<ReplicaFiles> files, CommitSink& sink);
  Result<LogPosition> checkpoint_locked(int mode = SQLITE_CHECKPOINT_PASSIVE);
  Result<LogPosition> restart_long_wal(LogPosition mark);
  Result<LogPosition> copy_locked(const std::string& path);
  bool is_in_file(const Result<LogPosition>& mark) const;
  Error checkpoint_error(int rc);

  const std::shared_ptr<ReplicaFiles> files_;
  const std::shared_ptr<ShimRange> shim_;
  std::shared_ptr<void> registered_;
  std::mutex checkpoint_mutex_;  ///< Held while the database file may change, or must not.
  sqlite3* checkpointer_{nullptr};
  ConnectionSet connections_;
};

}  // namespace outlast::storage
