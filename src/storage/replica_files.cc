#include "storage/replica_files.h"

#include <algorithm>
#include <utility>

#include "base/crc32c.h"
#include "storage/bytes.h"
#include "storage/failed_mark.h"
#include "storage/sealed_file.h"

namespace outlast::storage {
namespace {

const SealedKind kReplicaKind{"replica", 1};
const SealedKind kMarkKind{"mark", 1};

Result<void> write_mark(Disk& disk, const std::string& dir, const SnapshotPoint& mark) {
  Fields fields{{"lsn", mark.at.lsn.to_string()},
                {"epoch", mark.at.epoch.to_string()},
                {"checksum", std::to_string(mark.at.checksum)}};
  if (!mark.exact()) fields.emplace("holds", mark.holds.to_string());
  return write_sealed(disk, dir, "mark", kMarkKind, fields);
}

Result<SnapshotPoint> read_mark(Disk& disk, const std::string& dir) {
  ASSIGN_OR_RETURN(const Fields fields, read_sealed(disk, dir + "/mark", kMarkKind));
  ASSIGN_OR_RETURN(const std::uint64_t lsn, number_field(fields, "lsn"));
  ASSIGN_OR_RETURN(const std::uint64_t epoch, number_field(fields, "epoch"));
  ASSIGN_OR_RETURN(const std::uint64_t checksum, number_field(fields, "checksum"));
  const LogPosition at{Lsn(lsn), Epoch(epoch), static_cast<std::uint32_t>(checksum)};
  if (!fields.contains("holds")) return SnapshotPoint(at);
  ASSIGN_OR_RETURN(const std::uint64_t holds, number_field(fields, "holds"));
  return SnapshotPoint(at, Lsn(holds));
}

RangeLogOptions log_options(Disk& disk, const std::string& dir, const ReplicaIdentity& identity) {
  return {.disk = &disk, .dir = dir, .salt = log_salt(identity)};
}

}  // namespace

std::uint32_t log_salt(const ReplicaIdentity& identity) {
  return crc32c(identity.store_uuid + "/" + identity.range.to_string() + "/" + identity.replica.to_string());
}

Result<ReplicaIdentity> read_replica_identity(Disk& disk, const std::string& dir) {
  ASSIGN_OR_RETURN(const Fields fields, read_sealed(disk, dir + "/replica", kReplicaKind));
  ASSIGN_OR_RETURN(const std::uint64_t range, number_field(fields, "range"));
  ASSIGN_OR_RETURN(const std::uint64_t replica, number_field(fields, "replica"));
  return ReplicaIdentity{RangeId(range), ReplicaId(replica), text_field(fields, "store")};
}

Result<void> ReplicaFiles::lay_out(Disk& disk, const std::string& dir, const ReplicaIdentity& identity,
                                   const SnapshotPoint& start, const std::string& config) {
  TRY(write_sealed(disk, dir, "replica", kReplicaKind,
                   {{"range", identity.range.to_string()},
                    {"replica", identity.replica.to_string()},
                    {"store", identity.store_uuid}}));
  TRY(RangeLog::create(log_options(disk, dir, identity), start.at, config));
  return write_mark(disk, dir, start);
}

Result<void> ReplicaFiles::load() {
  RangeLogOptions log_from = log_options(disk, dir, identity);
  log_from.files = open_files_.get();
  log_from.segment_bytes = options.log_segment_bytes;
  ASSIGN_OR_RETURN(log, RangeLog::open(std::move(log_from)));
  ASSIGN_OR_RETURN(const SnapshotPoint mark, read_mark(disk, dir));
  mark_ = mark.at;
  received_holds_ = mark.holds;
  if (mark_.lsn < log->start().lsn || mark_.lsn > log->end().lsn)
    return Error(Errc::kCorrupt, dir + ": the database file is at " + mark_.lsn.to_string() + ", but the log holds " +
                                     log->start().lsn.to_string() + " to " + log->end().lsn.to_string() +
                                     "; this replica must be rebuilt from another one");
  // A crash may have come between page writes and the mark. Nothing above the log's end was ever written: pages
  // follow their entry, but for those that came with a snapshot.
  dirty_upto_ = std::max(log->end().lsn, received_holds_).value;
  return {};
}

LogPosition ReplicaFiles::mark() const {
  const std::lock_guard lock(mutex_);
  return mark_;
}

void ReplicaFiles::may_hold_pages_upto(Lsn lsn) {
  dirty_upto_ = std::max(dirty_upto_.load(), lsn.value);
}
void ReplicaFiles::holds_nothing_above(Lsn lsn) {
  dirty_upto_ = std::min(dirty_upto_.load(), lsn.value);
  const std::lock_guard lock(mutex_);
  received_holds_ = std::min(received_holds_, lsn);
}

Result<void> ReplicaFiles::move_mark(const LogPosition& mark) {
  Lsn holds;
  {
    const std::lock_guard lock(mutex_);
    holds = received_holds_;
  }
  TRY(write_mark(disk, dir, {mark, holds}));
  {
    const std::lock_guard lock(mutex_);
    mark_ = mark;
  }
  return offer_log();
}

Result<std::shared_ptr<HeldFile>> ReplicaFiles::hold_file(const std::string& copy) {
  ASSIGN_OR_RETURN(std::shared_ptr<HeldFile> held, HeldFile::hold(disk, db_path(), copy));
  const std::lock_guard lock(mutex_);
  std::erase_if(held_, [](const auto& each) { return each.expired(); });
  held_.push_back(held);
  return held;
}

void ReplicaFiles::before_file_changes() {
  std::vector<std::weak_ptr<HeldFile>> held;
  {
    const std::lock_guard lock(mutex_);
    held.swap(held_);
  }
  for (const auto& each : held)
    if (const auto file = each.lock()) file->let_go();
}

void ReplicaFiles::file_failed(const Error& why) {
  file_damaged = true;
  // Of bytes that are merely wrong, the next process will find the same.
  if (why.code != Errc::kCorrupt) (void)leave_failed_mark(disk, dir, why.message);
}

Result<void> ReplicaFiles::trim_to_header(File& db) {
  char header[32];
  ASSIGN_OR_RETURN(const std::size_t n, db.pread(0, header, sizeof header));
  if (n != sizeof header) return Error(Errc::kCorrupt, "the database file has lost its header; rebuild this replica");
  const std::uint64_t wanted = std::uint64_t{get_be32(header + 28)} * kPageBytes;
  ASSIGN_OR_RETURN(const std::uint64_t size, db.size());
  if (size > wanted) return db.truncate(wanted);
  return {};
}

Result<void> ReplicaFiles::remove_scratch(bool snapshots_too) {
  for (const char* suffix : {"-wal", "-shm", "-journal"}) TRY(remove_if_there(disk, db_path() + suffix));
  if (!snapshots_too) return {};
  ASSIGN_OR_RETURN(const auto names, disk.list(dir));
  for (const std::string& name : names)
    if (name.starts_with("snapshot")) TRY(remove_if_there(disk, dir + "/" + name));
  return {};
}

}  // namespace outlast::storage
