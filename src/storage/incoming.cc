#include "storage/incoming.h"

#include <algorithm>
#include <cstring>

#include "storage/bytes.h"
#include "storage/log_format.h"
#include "storage/sealed_file.h"

namespace outlast::storage {
namespace {

const SealedKind kSnapshotKind{"snapshot", 1};
constexpr std::uint64_t kSyncEveryBytes = std::uint64_t{8} << 20;

std::string name_of(const ReplicaIdentity& identity, const SnapshotPoint& point) {
  return identity.range.to_string() + "/" + identity.replica.to_string() + "/" + identity.store_uuid + "@" +
         point.at.lsn.to_string() + "/" + point.at.epoch.to_string() + "/" + std::to_string(point.at.checksum) +
         (point.exact() ? "" : "+" + point.holds.to_string());
}

}  // namespace

Result<Incoming::Transfer> Incoming::resume(const std::string& dir, const std::string& name, std::uint64_t size) {
  ASSIGN_OR_RETURN(const Fields fields, read_sealed(disk_, dir + "/snapshot", kSnapshotKind));
  ASSIGN_OR_RETURN(const std::uint64_t noted_size, number_field(fields, "size"));
  ASSIGN_OR_RETURN(const std::uint64_t synced, number_field(fields, "synced"));
  if (text_field(fields, "of") != name || (size != 0 && noted_size != size))
    return Error(Errc::kNotFound, "another snapshot is on its way");
  Transfer transfer{name, nullptr, noted_size, synced, synced};
  ASSIGN_OR_RETURN(transfer.file, disk_.open(dir + "/db", OpenMode::kWrite));
  TRY(transfer.file->truncate(synced));
  return transfer;
}

Result<Incoming::Transfer> Incoming::begin(const std::string& dir, const std::string& name, std::uint64_t size) {
  TRY(remove_tree(disk_, dir));
  TRY(disk_.make_dir(dir));
  Transfer transfer{name, nullptr, size, 0, 0};
  ASSIGN_OR_RETURN(transfer.file, disk_.open(dir + "/db", OpenMode::kCreateNew));
  TRY(note_progress(dir, transfer));
  TRY(disk_.sync_dir(root_));
  return transfer;
}

Result<void> Incoming::note_progress(const std::string& dir, Transfer& transfer) {
  TRY(transfer.file->sync());
  TRY(write_sealed(
      disk_, dir, "snapshot", kSnapshotKind,
      {{"of", transfer.name}, {"size", std::to_string(transfer.size)}, {"synced", std::to_string(transfer.received)}}));
  transfer.synced = transfer.received;
  return {};
}

Result<std::uint64_t> Incoming::receive(const ReplicaIdentity& identity, const SnapshotPoint& point,
                                        std::uint64_t file_size, std::uint64_t offset, std::string_view data) {
  if (file_size == 0 || file_size % kPageBytes != 0)
    return Error(Errc::kInvalidArgument, "a snapshot of " + std::to_string(file_size) + " bytes is no database file");
  const std::lock_guard lock(mutex_);
  const std::string name = name_of(identity, point), dir = dir_of(identity.range);
  auto it = transfers_.find(identity.range);
  if (it == transfers_.end() || it->second.name != name || it->second.size != file_size) {
    if (it != transfers_.end()) transfers_.erase(it);
    auto transfer = resume(dir, name, file_size);
    if (!transfer.ok()) transfer = begin(dir, name, file_size);
    if (!transfer.ok()) return std::move(transfer).error();
    it = transfers_.emplace(identity.range, *std::move(transfer)).first;
  }
  Transfer& transfer = it->second;
  if (offset != transfer.received || data.empty()) return transfer.received;
  if (data.size() > transfer.size - transfer.received)
    return Error(Errc::kInvalidArgument, "the snapshot is longer than its sender said");
  auto written = transfer.file->pwrite(offset, data);
  if (written.ok()) {
    transfer.received += data.size();
    if (transfer.received - transfer.synced >= kSyncEveryBytes) written = note_progress(dir, transfer);
  }
  if (!written.ok()) {  // what is on disk by now is looked up again; after a failed sync nobody can know that
    transfers_.erase(it);
    if (written.error().code == Errc::kIo) (void)remove_tree(disk_, dir);
    return std::move(written).error();
  }
  return transfer.received;
}

Result<std::string> Incoming::seal(const ReplicaIdentity& identity, const SnapshotPoint& point) {
  const std::lock_guard lock(mutex_);
  const std::string name = name_of(identity, point), dir = dir_of(identity.range);
  auto it = transfers_.find(identity.range);
  if (it == transfers_.end()) {
    auto transfer = resume(dir, name, 0);
    if (!transfer.ok()) return std::move(transfer).error();
    it = transfers_.emplace(identity.range, *std::move(transfer)).first;
  }
  Transfer& transfer = it->second;
  if (transfer.name != name || transfer.received != transfer.size)
    return Error(Errc::kInvalidState, "the snapshot for range " + identity.range.to_string() +
                                          " is not whole: " + std::to_string(transfer.received) + " of " +
                                          std::to_string(transfer.size) + " bytes; send the rest");
  char header[32];
  ASSIGN_OR_RETURN(const std::size_t n, transfer.file->pread(0, header, sizeof header));
  const bool fits = std::uint64_t{get_be32(header + 28)} * kPageBytes == transfer.size;
  if (n != sizeof header || std::memcmp(header, "SQLite format 3", 16) != 0 || (point.exact() && !fits)) {
    transfers_.erase(it);
    TRY(remove_tree(disk_, dir));
    return Error(Errc::kCorrupt, "the snapshot for range " + identity.range.to_string() +
                                     " is no database file of its size; it was thrown away, send it again");
  }
  const auto synced = note_progress(dir, transfer);
  transfers_.erase(it);
  if (!synced.ok()) {
    if (synced.error().code == Errc::kIo) (void)remove_tree(disk_, dir);
    return synced.error();
  }
  return dir;
}

void Incoming::forget(RangeId range) {
  const std::lock_guard lock(mutex_);
  transfers_.erase(range);
}

}  // namespace outlast::storage
