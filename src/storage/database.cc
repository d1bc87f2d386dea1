#include <algorithm>
#include <utility>

#include "storage/database_impl.h"
#include "storage/durable_view.h"
#include "storage/page_file.h"

namespace outlast::storage {
namespace {

/// A checkpoint was refused by something that passes: a copy does without it.
bool comes_and_goes(const Error& why) {
  return why.code == Errc::kObjectInUse || why.code == Errc::kRangeUnavailable;
}

int remember_text(void* out, int, char** values, char**) {
  *static_cast<std::string*>(out) = values[0] != nullptr ? values[0] : "";
  return 0;
}

}  // namespace

DatabaseImpl::DatabaseImpl(std::shared_ptr<ReplicaFiles> files, CommitSink& sink)
    : files_(std::move(files)), shim_(std::make_shared<ShimRange>(sink, files_->disk, files_->db_path())) {
  shim_->txn_bytes_max = files_->options.txn_bytes_max;
  shim_->wal_index.limit(files_->options.planted.wal_index_regions);
  if (files_->options.planted.frames_as_written) shim_->as_written = std::make_unique<FramesAsWritten>();
  shim_->assigned = shim_->published = files_->log->end().lsn.value;
}

DatabaseImpl::~DatabaseImpl() {
  if (checkpointer_ != nullptr) close_sqlite(checkpointer_);
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
  ASSIGN_OR_RETURN(database->checkpointer_, open_sqlite(database->shim_->path, SQLITE_OPEN_READWRITE, shim_vfs_name()));
  shim_connection(database->checkpointer_)->writes_database = true;
  std::string mode;
  const int rc = sqlite3_exec(database->checkpointer_, "PRAGMA journal_mode", remember_text, &mode, nullptr);
  if (rc != SQLITE_OK) return sqlite_failure(database->checkpointer_, rc, "cannot open " + database->shim_->path);
  if (mode != "wal") return Error(Errc::kCorrupt, database->shim_->path + " is in journal mode " + mode + ", not wal");
  return database;
}

Result<std::unique_ptr<Connection>> DatabaseImpl::connect() {
  if (shim_->fenced) return Error(Errc::kFenced, "the range is closed here");
  ASSIGN_OR_RETURN(sqlite3* const db, open_sqlite(shim_->path, SQLITE_OPEN_READWRITE, shim_vfs_name()));
  if (const int pages = files_->options.cache_pages; pages > 0)
    sqlite3_exec(db, ("PRAGMA cache_size=" + std::to_string(pages)).c_str(), nullptr, nullptr, nullptr);
  return std::unique_ptr<Connection>(std::make_unique<ConnectionImpl>(db, connections_, shared_from_this()));
}

Result<std::shared_ptr<Database>> DatabaseImpl::durable_view(Lsn durable) {
  const std::lock_guard lock(checkpoint_mutex_);
  if (shim_->fenced) return Error(Errc::kFenced, "the range is closed here");
  if (durable < files_->mark().lsn)
    return Error(Errc::kInvalidState, shim_->path + " holds later pages than those of LSN " + durable.to_string());
  return DurableView::open(shared_from_this(), shim_, durable);
}

void DatabaseImpl::fence() {
  shim_->fenced = true;
  connections_.interrupt_all();
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
  Error error = sqlite_failure(checkpointer_, rc, "cannot checkpoint " + shim_->path);
  if ((rc & 0xff) == SQLITE_IOERR) files_->file_failed(error);
  return error;
}

/// `mode`: PASSIVE goes on beside writers and readers; RESTART waits for both, as the busy handler allows.
Result<LogPosition> DatabaseImpl::checkpoint_locked(int mode) {
  if (files_->file_damaged) return Error(Errc::kIo, shim_->path + " failed before; this replica must be rebuilt");
  const LogPosition mark = files_->mark();
  // Published and not assigned: a commit between the two is in the log, but not among the frames to be copied.
  const Lsn covered(shim_->published.load());
  if (covered == mark.lsn && mode == SQLITE_CHECKPOINT_PASSIVE) return mark;
  files_->before_file_changes();
  int frames = 0, copied = 0;
  const int rc = sqlite3_wal_checkpoint_v2(checkpointer_, "main", mode, &frames, &copied);
  if ((rc & 0xff) == SQLITE_BUSY) return mark;
  if (rc != SQLITE_OK) return checkpoint_error(rc);
  if (frames != copied) return mark;  // a reader is in the way
  // SQLite leaves out its own sync when a commit raced the checkpoint.
  if (!files_->options.planted.mark_before_sync) {
    if (auto synced = sync_database_file(checkpointer_); !synced.ok()) {
      files_->file_failed(synced.error());
      return synced.error();
    }
  }
  ASSIGN_OR_RETURN(const LogPosition position, files_->log->position_at(covered));
  if (auto moved = files_->move_mark(position); !moved.ok()) {
    if (moved.error().code == Errc::kIo) files_->file_failed(moved.error());
    return moved.error();
  }
  shim_->commit_ends.forget_below(covered);
  return position;
}

Result<LogPosition> DatabaseImpl::copy_locked(const std::string& path) {
  // The file holds the mark's pages and, after partial checkpoints, some of later entries; all of those were durable
  // before they were copied. The log from the mark up to here makes the copy exact, whatever readers hold back.
  Lsn target(shim_->assigned.load());
  if (!shim_->sink.wait_all_durable().ok()) target = std::max(files_->mark().lsn, shim_->sink.durable());
  TRY(files_->disk.copy(files_->db_path(), path));
  ASSIGN_OR_RETURN(const auto file, files_->disk.open(path, OpenMode::kWrite));
  TRY(apply_entries(*files_->log, files_->mark().lsn, target, *file));
  TRY(ReplicaFiles::trim_to_header(*file));
  return files_->log->position_at(target);
}

Result<DatabaseImpl::Held> DatabaseImpl::hold(const std::string& path) {
  const std::lock_guard lock(checkpoint_mutex_);
  auto mark = checkpoint_locked();
  if (!mark.ok() && !comes_and_goes(mark.error())) return mark.error();
  Held held;
  if (is_in_file(mark)) {
    {
      ASSIGN_OR_RETURN(const auto file, files_->disk.open(files_->db_path(), OpenMode::kWrite));
      TRY(ReplicaFiles::trim_to_header(*file));
    }
    held.at = *mark;
    ASSIGN_OR_RETURN(held.file, files_->hold_file(path));
  } else {
    ASSIGN_OR_RETURN(held.at, copy_locked(path));
    ASSIGN_OR_RETURN(held.file, HeldFile::of_copy(files_->disk, path));
  }
  return held;
}

/// No commit has come since: the file is the database at the mark, with nothing of later ones.
bool DatabaseImpl::is_in_file(const Result<LogPosition>& mark) const {
  return mark.ok() && mark->lsn.value == shim_->assigned;
}

Result<Digest> DatabaseImpl::digest(const std::string& path) {
  const std::lock_guard lock(checkpoint_mutex_);
  auto mark = checkpoint_locked();
  if (!mark.ok() && !comes_and_goes(mark.error())) return mark.error();
  if (is_in_file(mark)) {
    ASSIGN_OR_RETURN(const auto file, files_->disk.open(files_->db_path(), OpenMode::kWrite));
    TRY(ReplicaFiles::trim_to_header(*file));
    ASSIGN_OR_RETURN(const FileDigest digest, digest_file(*file));
    return Digest{*mark, digest.crc, digest.bytes};
  }
  ASSIGN_OR_RETURN(const LogPosition at, copy_locked(path));
  ASSIGN_OR_RETURN(const auto file, files_->disk.open(path, OpenMode::kRead));
  ASSIGN_OR_RETURN(const FileDigest digest, digest_file(*file));
  TRY(files_->disk.remove(path));
  return Digest{at, digest.crc, digest.bytes};
}

}  // namespace outlast::storage
