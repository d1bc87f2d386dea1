#pragma once
#include <array>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "meta/sqlite.h"
#include "meta/store.h"
#include "meta/txn_apply.h"

namespace outlast::meta {

/// The SQLite file of the embedded metadata store (protocol A6): tables kv (the present), log (the past, for watches)
/// and counters (revision, oldest revision kept). WAL mode, synchronous FULL. Several processes and several objects in
/// one process may have the same file open.
/// A process must not open meta.db by other means: closing any descriptor of it would drop SQLite's POSIX locks.
/// Thread-safety: none; one thread at a time. Every call may block on the disk, none waits for a lock.
class MetaFile final : public KvView {
 public:
  /// Opens or creates dir/meta.db. Errors: kIo, kCorrupt, kWrongVersion (written by a newer Outlast), kMetaUnavailable
  /// when other processes keep it locked beyond a few seconds.
  static Result<std::unique_ptr<MetaFile>> open(const std::filesystem::path& dir);

  enum class Begin : std::uint8_t { kBegun, kBusy };
  /// Starts a transaction; kBusy at once when another process writes.
  Result<Begin> begin_write();
  Result<void> begin_read();
  /// Errors: kMetaInDoubt when it is not known whether the commit will be seen after a crash.
  Result<void> commit();
  void rollback();
  /// False after an error that made SQLite undo the transaction by itself.
  bool in_transaction() const;
  Result<void> savepoint();
  Result<void> release();
  Result<void> rollback_to_savepoint();

  // Inside a transaction.
  Result<Revision> revision();
  Result<Revision> compacted();
  Result<void> set_revision(Revision revision);
  Result<std::optional<KeyValue>> get(const std::string& key) override;
  Result<std::vector<KeyValue>> scan(const std::string& prefix) override;
  Result<void> put(const std::string& key, const std::string& value, Revision revision) override;
  Result<bool> erase(const std::string& key, Revision revision) override;
  /// All changes after `since`, in order. `since` must not be below compacted().
  Result<std::vector<Event>> changes(Revision since);
  /// Forgets the changes up to and including `upto`.
  Result<void> forget(Revision upto);

  /// A number that differs after another connection committed.
  Result<std::uint64_t> data_version();

 private:
  enum Sql : std::uint8_t {
    kBeginWrite,
    kBeginRead,
    kCommit,
    kRollback,
    kSavepoint,
    kRelease,
    kRollbackTo,
    kCounter,
    kSetCounter,
    kGet,
    kScan,
    kScanAll,
    kPut,
    kErase,
    kLog,
    kChanges,
    kForget,
    kDataVersion,
    kSqlCount
  };
  explicit MetaFile(SqlitePtr db) : db_(std::move(db)) {}
  Result<void> prepare();
  sqlite3_stmt* sql(Sql which) { return statements_[which].get(); }
  Result<void> run(Sql which);
  Result<void> done(int code);
  Result<std::uint64_t> counter(std::uint64_t which);
  Result<void> set_counter(std::uint64_t which, std::uint64_t value);
  Result<void> log(const std::string& key, const std::string* value, Revision create, Revision revision);
  Error failed() const;

  SqlitePtr db_;
  std::array<std::unique_ptr<sqlite3_stmt, CloseSqlite>, kSqlCount> statements_;
  std::uint64_t log_position_{0};  ///< Orders the changes within one revision.
};

}  // namespace outlast::meta
