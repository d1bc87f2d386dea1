#pragma once
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "storage/held_file.h"
#include "storage/range_log.h"
#include "storage/replica_store.h"

namespace outlast::storage {

/// The files of one replica, shared by the Replica, its Database and its snapshots:
///   replica   who it is (sealed)          db      the database file
///   mark      what db holds (sealed)      log.*   the range log; db-wal is scratch
/// Thread-safety: any thread, but the mark is moved by one thread at a time.
class ReplicaFiles {
 public:
  ReplicaFiles(Disk& d, std::shared_ptr<OpenFiles> f, std::shared_ptr<LogRetention> r, const StoreOptions& o,
               std::string dir_path, ReplicaIdentity id)
      : disk(d),
        options(o),
        dir(std::move(dir_path)),
        identity(std::move(id)),
        open_files_(std::move(f)),
        retention_(std::move(r)) {}

  /// Writes a new replica at `start` around a database file that is already in `dir`; the mark comes last.
  static Result<void> lay_out(Disk& disk, const std::string& dir, const ReplicaIdentity& identity,
                              const SnapshotPoint& start, const std::string& config);
  /// Reads mark and log. kCorrupt when they contradict each other.
  Result<void> load();

  std::string db_path() const { return dir + "/db"; }
  LogPosition mark() const;
  /// The file is known to hold exactly what the mark says: no later page was written before a crash or a close.
  bool clean() const { return mark().lsn.value >= dirty_upto_; }
  Lsn dirty_upto() const { return Lsn(dirty_upto_.load()); }
  void may_hold_pages_upto(Lsn lsn);
  void holds_nothing_above(Lsn lsn);
  /// Precondition: everything up to `mark` is synced in the database file. Frees log by the retention rule.
  Result<void> move_mark(const LogPosition& mark);
  /// Frees log that the database file does not need, by the retention rule.
  Result<void> offer_log() { return retention_->offer(log, mark().lsn); }
  /// The database file as it is now. Nobody may change it meanwhile.
  Result<std::shared_ptr<HeldFile>> hold_file(const std::string& copy);
  /// To be called before anything in the database file changes.
  void before_file_changes();
  /// A sync or a write of the database file failed, which is never tried again; the mark says so to later processes.
  void file_failed(const Error& why);
  /// Cuts what lies behind the page count in the database's own header: left by a checkpoint that raced a commit.
  static Result<void> trim_to_header(File& db);
  /// Scratch of SQLite, and copies that nobody owns any more.
  Result<void> remove_scratch(bool snapshots_too);

  Disk& disk;
  const StoreOptions options;
  const std::string dir;
  const ReplicaIdentity identity;
  std::shared_ptr<RangeLog> log;
  std::atomic<bool> file_damaged{false};  ///< A sync of the database file failed: see file_failed.
  std::atomic<std::uint64_t> next_snapshot{1};

 private:
  std::shared_ptr<OpenFiles> open_files_;
  std::shared_ptr<LogRetention> retention_;
  mutable std::mutex mutex_;
  LogPosition mark_;
  Lsn received_holds_;  ///< Of the snapshot that this replica was made from: written into the mark until it is passed.
  std::atomic<std::uint64_t> dirty_upto_{0};
  std::vector<std::weak_ptr<HeldFile>> held_;
};

Result<ReplicaIdentity> read_replica_identity(Disk& disk, const std::string& dir);
/// Seeds the checksums of this replica's log (log_format.h).
std::uint32_t log_salt(const ReplicaIdentity& identity);

}  // namespace outlast::storage
