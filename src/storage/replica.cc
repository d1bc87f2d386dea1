#include <algorithm>

#include "storage/page_file.h"
#include "storage/replica_impl.h"

namespace outlast::storage {
namespace {

class FileSnapshot final : public SnapshotSource {
 public:
  FileSnapshot(std::shared_ptr<ReplicaFiles> files, std::shared_ptr<HeldFile> file, const SnapshotPoint& point)
      : files_(std::move(files)), file_(std::move(file)), point_(point) {}
  LogPosition position() const override { return point_.at; }
  SnapshotPoint point() const override { return point_; }
  std::uint64_t file_size() const override { return file_->size(); }
  Result<std::string> read(std::uint64_t offset, std::size_t bytes) override { return file_->read(offset, bytes); }

 private:
  const std::shared_ptr<ReplicaFiles> files_;  ///< Has the disk.
  const std::shared_ptr<HeldFile> file_;
  const SnapshotPoint point_;
};

/// A file that a crash has torn may end within a page; the receiver's replay replaces that page.
Result<void> fill_last_page(File& file) {
  ASSIGN_OR_RETURN(const std::uint64_t size, file.size());
  if (size % kPageBytes == 0) return {};
  return file.truncate((size / kPageBytes + 1) * kPageBytes);
}

}  // namespace

Result<void> ReplicaImpl::load_config() {
  const std::string text = files_->log->config();
  if (text.empty()) return {};
  ASSIGN_OR_RETURN(config_, placement::decode_range_config(text));
  return {};
}

Result<void> ReplicaImpl::check_usable() const {
  if (!damaged()) return {};
  return Error(Errc::kIo, files_->dir + " failed before; this replica must be rebuilt from another one");
}

/// Whatever cannot be undone by trying again makes the replica damaged.
Error ReplicaImpl::damage(Error error) {
  if (error.code == Errc::kIo || error.code == Errc::kCorrupt) files_->file_failed(error);
  return error;
}

Result<void> ReplicaImpl::check_clean() const {
  if (files_->clean()) return {};
  return Error(Errc::kInvalidState, files_->dir + " may hold pages above " + applied().to_string() +
                                        " since it was opened; apply its log first");
}

Result<void> ReplicaImpl::cut_after(Lsn lsn) {
  if (lsn < applied())
    return Error(Errc::kInvalidState,
                 "cannot cut the log after " + lsn.to_string() + ": the database file holds " + applied().to_string());
  TRY(files_->log->cut_after(lsn));
  files_->holds_nothing_above(lsn);  // what is cut was never durable, so no page of it was written
  return {};
}

Result<void> ReplicaImpl::record_config(const placement::RangeConfig& config) {
  TRY(files_->log->record_config(placement::encode(config)));
  const std::lock_guard lock(config_mutex_);
  config_ = config;
  return {};
}

std::optional<placement::RangeConfig> ReplicaImpl::recorded_config() const {
  const std::lock_guard lock(config_mutex_);
  return config_;
}

Result<void> ReplicaImpl::apply_to(Lsn durable) {
  TRY(check_usable());
  if (!database_.expired())
    return Error(Errc::kInvalidState, "the database of range " + files_->identity.range.to_string() + " is open here");
  // Never ahead of our own disk: pages of an entry that a crash takes from the log could not be replaced.
  const Lsn target = std::min(durable, files_->log->synced());
  if (target <= applied()) return {};
  ASSIGN_OR_RETURN(const auto file, files_->disk.open(files_->db_path(), OpenMode::kWrite));
  files_->may_hold_pages_upto(target);
  files_->before_file_changes();
  auto written =
      apply_entries(*files_->log, applied(), target, *file, std::size_t{32} << 20, files_->options.planted.image);
  if (!written.ok()) return damage(written.error());
  if (!files_->options.planted.mark_before_sync) {
    if (auto synced = file->sync(); !synced.ok()) {
      files_->file_failed(synced.error());
      return synced;
    }
  }
  ASSIGN_OR_RETURN(const LogPosition mark, files_->log->position_at(target));
  if (auto moved = files_->move_mark(mark); !moved.ok()) return damage(moved.error());
  return {};
}

Result<std::shared_ptr<Database>> ReplicaImpl::open_database(CommitSink& sink) {
  TRY(check_usable());
  const LogPosition end = log_end();
  if (!database_.expired() || files_->log->synced() != end.lsn)
    return Error(Errc::kInvalidState,
                 "range " + files_->identity.range.to_string() + " is open here already, or its log is not synced");
  TRY(files_->remove_scratch(false));
  {
    ASSIGN_OR_RETURN(const auto file, files_->disk.open(files_->db_path(), OpenMode::kWrite));
    // Not synced, and the mark stays: after a crash the log does it again. The first checkpoint syncs the file.
    files_->holds_nothing_above(end.lsn);  // everything committed is in this log
    files_->may_hold_pages_upto(end.lsn);
    files_->before_file_changes();
    auto written =
        apply_entries(*files_->log, applied(), end.lsn, *file, std::size_t{32} << 20, files_->options.planted.image);
    if (!written.ok()) return damage(written.error());
    TRY(ReplicaFiles::trim_to_header(*file));
  }
  ASSIGN_OR_RETURN(std::shared_ptr<DatabaseImpl> database, DatabaseImpl::open(files_, sink));
  database_ = database;
  return std::shared_ptr<Database>(std::move(database));
}

std::string ReplicaImpl::snapshot_path() {
  return files_->dir + "/snapshot." + std::to_string(files_->next_snapshot.fetch_add(1));
}

Result<std::unique_ptr<SnapshotSource>> ReplicaImpl::snapshot() {
  TRY(check_usable());
  const std::string path = snapshot_path();
  SnapshotPoint point;
  std::shared_ptr<HeldFile> file;
  if (const auto database = database_.lock()) {
    ASSIGN_OR_RETURN(auto held, database->hold(path));
    point = held.at, file = std::move(held.file);
  } else {
    // A leaseholder that does not serve yet cannot bring its file to the log's end, which need not be committed. As the
    // file is, with the log, it is as good for the receiver as it is here; and it is the only way on when the learner
    // has to take a dead member's place first (A4.7).
    point = {files_->mark(), files_->dirty_upto()};
    TRY(files_->disk.copy(files_->db_path(), path));
    ASSIGN_OR_RETURN(const auto copy, files_->disk.open(path, OpenMode::kWrite));
    TRY(point.exact() ? ReplicaFiles::trim_to_header(*copy) : fill_last_page(*copy));
    ASSIGN_OR_RETURN(file, HeldFile::of_copy(files_->disk, path));
  }
  return std::unique_ptr<SnapshotSource>(std::make_unique<FileSnapshot>(files_, std::move(file), point));
}

Result<Digest> ReplicaImpl::digest() {
  TRY(check_usable());
  if (const auto database = database_.lock()) return database->digest(snapshot_path());
  TRY(check_clean());
  const LogPosition at = files_->mark();
  ASSIGN_OR_RETURN(const auto file, files_->disk.open(files_->db_path(), OpenMode::kWrite));
  TRY(ReplicaFiles::trim_to_header(*file));
  ASSIGN_OR_RETURN(const FileDigest digest, digest_file(*file));
  return Digest{at, digest.crc, digest.bytes};
}

std::uint64_t ReplicaImpl::disk_bytes() const {
  const auto file = files_->disk.file_size(files_->db_path());
  return files_->log->bytes() + (file.ok() ? *file : 0);
}

}  // namespace outlast::storage
