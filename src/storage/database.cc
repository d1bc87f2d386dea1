#include <algorithm>
#include <utility>

#include "storage/database_impl.h"
#include "storage/page_file.h"

namespace outlast::storage {
namespace {

Error sqlite_error(sqlite3* db, int rc, const std::string& what) {
  const Errc code = (rc & 0xff) == SQLITE_FULL                                      ? Errc::kDiskFull
                    : (rc & 0xff) == SQLITE_NOMEM                                   ? Errc::kOutOfMemory
                    : (rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB ? Errc::kCorrupt
                                                                                    : Errc::kIo;
  return {code, what + ": " + (db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(rc))};
}

/// The range's writer lock keeps writers apart; a checkpoint that begins the WAL anew may hold one up for milliseconds.
constexpr int kBusyMs = 2000;

void close_connection(sqlite3* db) {
  while (sqlite3_stmt* statement = sqlite3_next_stmt(db, nullptr)) sqlite3_finalize(statement);
  OUTLAST_ASSERT(sqlite3_close(db) == SQLITE_OK, "a blob or a backup of the connection is still open");
}

int remember_text(void* out, int, char** values, char**) {
  *static_cast<std::string*>(out) = values[0] != nullptr ? values[0] : "";
  return 0;
}

class ConnectionImpl final : public Connection {
 public:
  ConnectionImpl(sqlite3* db, std::shared_ptr<DatabaseImpl> owner) : db_(db), owner_(std::move(owner)) {}
  ~ConnectionImpl() override {
    owner_->closed(db_);
    close_connection(db_);
  }
  sqlite3* raw() override { return db_; }
  void set_request(RequestOutcome request) override { side().request = std::move(request); }
  Lsn take_commit_lsn() override { return std::exchange(side().commit_lsn, {}); }
  Error take_commit_error() override {
    auto error = std::exchange(side().error, {});
    return error.value_or(Error(Errc::kInternal, "the commit was not refused by the range"));
  }
  void interrupt() override { sqlite3_interrupt(db_); }

 private:
  ShimConnection& side() {
    ShimConnection* side = shim_connection(db_);
    OUTLAST_ASSERT(side != nullptr);
    return *side;
  }
  sqlite3* const db_;
  const std::shared_ptr<DatabaseImpl> owner_;  // the database stays open as long as a connection does
};

}  // namespace

DatabaseImpl::DatabaseImpl(std::shared_ptr<ReplicaFiles> files, CommitSink& sink)
    : files_(std::move(files)), shim_(std::make_shared<ShimRange>(sink, files_->disk, files_->db_path())) {
  shim_->txn_bytes_max = files_->options.txn_bytes_max;
  shim_->assigned = shim_->published = files_->log->end().lsn.value;
}

DatabaseImpl::~DatabaseImpl() {
  if (checkpointer_ != nullptr) close_connection(checkpointer_);
  registered_.reset();
  // Checkpoints may have copied pages that the mark does not cover, of entries in the log.
  files_->may_hold_pages_upto(files_->log->end().lsn);
  // Frames of refused commits lie in the WAL with valid checksums: it must never be opened again. If the removal fails
  // here, open_database removes it.
  [[maybe_unused]] const bool removed = files_->remove_scratch(false).ok();
}

Result<std::shared_ptr<DatabaseImpl>> DatabaseImpl::open(std::shared_ptr<ReplicaFiles> files, CommitSink& sink) {
  std::shared_ptr<DatabaseImpl> database(new DatabaseImpl(std::move(files), sink));
  database->registered_ = register_range(database->shim_);
  ASSIGN_OR_RETURN(database->checkpointer_, database->open_connection());
  shim_connection(database->checkpointer_)->writes_database = true;
  std::string mode;
  const int rc = sqlite3_exec(database->checkpointer_, "PRAGMA journal_mode", remember_text, &mode, nullptr);
  if (rc != SQLITE_OK) return sqlite_error(database->checkpointer_, rc, "cannot open " + database->shim_->path);
  if (mode != "wal") return Error(Errc::kCorrupt, database->shim_->path + " is in journal mode " + mode + ", not wal");
  return database;
}

Result<sqlite3*> DatabaseImpl::open_connection() {
  sqlite3* db = nullptr;
  int rc = sqlite3_open_v2(shim_->path.c_str(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, shim_vfs_name());
  if (rc == SQLITE_OK) {
    sqlite3_extended_result_codes(db, 1);
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, 1, nullptr);
    sqlite3_wal_autocheckpoint(db, 0);
    sqlite3_busy_timeout(db, kBusyMs);
    rc = sqlite3_exec(db, "PRAGMA synchronous=FULL; PRAGMA temp_store=MEMORY", nullptr, nullptr, nullptr);
  }
  if (rc == SQLITE_OK && shim_connection(db) != nullptr) return db;
  Error error = sqlite_error(db, rc, "cannot open " + shim_->path);
  sqlite3_close(db);
  return error;
}

Result<std::unique_ptr<Connection>> DatabaseImpl::connect() {
  if (shim_->fenced) return Error(Errc::kFenced, "the range is closed here");
  ASSIGN_OR_RETURN(sqlite3* const db, open_connection());
  const std::lock_guard lock(connections_mutex_);
  connections_.insert(db);
  return std::unique_ptr<Connection>(std::make_unique<ConnectionImpl>(db, shared_from_this()));
}

void DatabaseImpl::closed(sqlite3* connection) {
  const std::lock_guard lock(connections_mutex_);
  connections_.erase(connection);
}

void DatabaseImpl::fence() {
  shim_->fenced = true;
  const std::lock_guard lock(connections_mutex_);
  for (sqlite3* db : connections_) sqlite3_interrupt(db);
}

std::uint64_t DatabaseImpl::wal_bytes() const {
  const std::uint64_t frames = shim_->wal_index.frames();
  const std::uint64_t copied = shim_->wal_index.backfilled();
  return frames > copied ? (frames - copied) * (kPageBytes + 24) : 0;
}

Result<Lsn> DatabaseImpl::checkpoint() {
  const std::lock_guard lock(checkpoint_mutex_);
  ASSIGN_OR_RETURN(LogPosition mark, checkpoint_locked());
  ASSIGN_OR_RETURN(mark, restart_long_wal(mark));
  return mark.lsn;
}

Error DatabaseImpl::checkpoint_error(int rc) {
  ShimConnection& side = *shim_connection(checkpointer_);
  if (side.error.has_value()) return *std::exchange(side.error, {});  // refused before the file was touched
  Error error = sqlite_error(checkpointer_, rc, "cannot checkpoint " + shim_->path);
  if ((rc & 0xff) == SQLITE_IOERR) files_->file_damaged = true;  // a failed sync is never tried again
  return error;
}

/// `mode`: PASSIVE goes on beside writers and readers; RESTART waits for both, as the busy handler allows.
Result<LogPosition> DatabaseImpl::checkpoint_locked(int mode) {
  if (files_->file_damaged) return Error(Errc::kIo, shim_->path + " failed before; this replica must be rebuilt");
  const LogPosition mark = files_->mark();
  // Published and not assigned: a commit between the two is in the log, but not among the frames to be copied.
  const Lsn covered(shim_->published.load());
  if (covered == mark.lsn && mode == SQLITE_CHECKPOINT_PASSIVE) return mark;
  int frames = 0, copied = 0;
  const int rc = sqlite3_wal_checkpoint_v2(checkpointer_, "main", mode, &frames, &copied);
  if ((rc & 0xff) == SQLITE_BUSY) return mark;
  if (rc != SQLITE_OK) return checkpoint_error(rc);
  if (frames != copied) return mark;  // a reader is in the way
  // SQLite leaves out its own sync when a commit raced the checkpoint.
  if (!files_->options.planted.mark_before_sync) {
    if (auto synced = sync_database_file(checkpointer_); !synced.ok()) {
      files_->file_damaged = true;
      return synced.error();
    }
  }
  ASSIGN_OR_RETURN(const LogPosition position, files_->log->position_at(covered));
  TRY(files_->move_mark(position));
  return position;
}

Result<LogPosition> DatabaseImpl::copy_locked(const std::string& path) {
  // The file holds the mark's pages and, after partial checkpoints, some of later entries; all of those were assigned
  // by now. The log from the mark up to here makes the copy exact, whatever readers hold back.
  const Lsn target(shim_->assigned.load());
  TRY(shim_->sink.wait_all_durable());
  TRY(files_->disk.copy(files_->db_path(), path));
  ASSIGN_OR_RETURN(const auto file, files_->disk.open(path, OpenMode::kWrite));
  TRY(apply_entries(*files_->log, files_->mark().lsn, target, *file));
  TRY(ReplicaFiles::trim_to_header(*file));
  return files_->log->position_at(target);
}

Result<LogPosition> DatabaseImpl::copy_to(const std::string& path) {
  const std::lock_guard lock(checkpoint_mutex_);
  TRY(checkpoint_locked());
  return copy_locked(path);
}

Result<Digest> DatabaseImpl::digest(const std::string& path) {
  const std::lock_guard lock(checkpoint_mutex_);
  ASSIGN_OR_RETURN(LogPosition at, checkpoint_locked());
  if (at.lsn.value == shim_->assigned) {
    ASSIGN_OR_RETURN(const auto file, files_->disk.open(files_->db_path(), OpenMode::kWrite));
    TRY(ReplicaFiles::trim_to_header(*file));
    ASSIGN_OR_RETURN(const FileDigest digest, digest_file(*file));
    return Digest{at, digest.crc, digest.bytes};
  }
  ASSIGN_OR_RETURN(at, copy_locked(path));
  ASSIGN_OR_RETURN(const auto file, files_->disk.open(path, OpenMode::kRead));
  ASSIGN_OR_RETURN(const FileDigest digest, digest_file(*file));
  TRY(files_->disk.remove(path));
  return Digest{at, digest.crc, digest.bytes};
}

}  // namespace outlast::storage
