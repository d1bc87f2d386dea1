#include "storage/incoming.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "storage/bytes.h"
#include "storage/log_format.h"
#include "storage/sealed_file.h"

namespace outlast::storage {
namespace {

const SealedKind kSnapshotKind{"snapshot", 1};
constexpr std::uint64_t kWrittenBehind = std::uint64_t{16} << 20;  // so much may wait for the disk

std::string name_of(const ReplicaIdentity& identity, const SnapshotPoint& point) {
  return identity.range.to_string() + "/" + identity.replica.to_string() + "/" + identity.store_uuid + "@" +
         point.at.lsn.to_string() + "/" + point.at.epoch.to_string() + "/" + std::to_string(point.at.checksum) +
         (point.exact() ? "" : "+" + point.holds.to_string());
}

}  // namespace

std::shared_ptr<Incoming::Transfer> Incoming::of(RangeId range) {
  const std::lock_guard lock(mutex_);
  auto& transfer = transfers_[range];
  if (!transfer) transfer = std::make_shared<Transfer>();
  return transfer;
}

Result<void> Incoming::resume(const std::string& dir, Transfer& transfer, const std::string& name, std::uint64_t size) {
  ASSIGN_OR_RETURN(const Fields fields, read_sealed(disk_, dir + "/snapshot", kSnapshotKind));
  ASSIGN_OR_RETURN(const std::uint64_t noted_size, number_field(fields, "size"));
  ASSIGN_OR_RETURN(const std::uint64_t synced, number_field(fields, "synced"));
  if (text_field(fields, "of") != name || (size != 0 && noted_size != size))
    return Error(Errc::kNotFound, "another snapshot is on its way");
  ASSIGN_OR_RETURN(auto file, disk_.open(dir + "/db", OpenMode::kWrite));
  TRY(file->truncate(synced));
  TRY(file->reserve(noted_size));
  transfer.name = name, transfer.file = std::move(file), transfer.size = noted_size;
  transfer.received = transfer.synced = synced;
  return {};
}

Result<void> Incoming::begin(const std::string& dir, Transfer& transfer, const std::string& name, std::uint64_t size) {
  TRY(remove_tree(disk_, dir));
  TRY(disk_.make_dir(dir));
  ASSIGN_OR_RETURN(auto file, disk_.open(dir + "/db", OpenMode::kCreateNew));
  TRY(file->reserve(size));
  transfer.name = name, transfer.file = std::move(file), transfer.size = size;
  transfer.received = transfer.synced = 0;
  return {};
}

Result<void> Incoming::note_progress(const std::string& dir, Transfer& transfer) {
  TRY(transfer.file->sync());
  TRY(write_sealed(
      disk_, dir, "snapshot", kSnapshotKind,
      {{"of", transfer.name}, {"size", std::to_string(transfer.size)}, {"synced", std::to_string(transfer.received)}}));
  transfer.synced = transfer.received;
  return {};
}

std::string_view AlignedBytes::copy_of(std::string_view bytes) {
  if (size_ < bytes.size()) {
    size_ = (bytes.size() + File::kDirectBytes - 1) / File::kDirectBytes * File::kDirectBytes;
    memory_.reset(static_cast<char*>(std::aligned_alloc(File::kDirectBytes, size_)));
    if (memory_ == nullptr) throw std::bad_alloc();
  }
  std::memcpy(memory_.get(), bytes.data(), bytes.size());
  return {memory_.get(), bytes.size()};
}

/// False: it has to be written otherwise.
Result<bool> Incoming::write_direct(Transfer& transfer, std::string_view data) {
  if (!transfer.direct || transfer.received % File::kDirectBytes != 0 || data.size() % File::kDirectBytes != 0)
    return false;
  ASSIGN_OR_RETURN(transfer.direct, transfer.file->write_direct(transfer.received, transfer.aligned.copy_of(data)));
  return transfer.direct;
}

/// The next piece. What is kWrittenBehind older is on the disk when this returns.
Result<void> Incoming::write(const std::string& dir, Transfer& transfer, std::string_view data) {
  const std::uint64_t offset = transfer.received;
  ASSIGN_OR_RETURN(const bool direct, write_direct(transfer, data));
  if (!direct) TRY(transfer.file->pwrite(offset, data));
  transfer.received += data.size();
  if (transfer.received - transfer.synced >= sync_every_) return note_progress(dir, transfer);
  if (direct) return {};
  TRY(transfer.file->write_back(offset, data.size(), false));
  if (offset < transfer.synced + kWrittenBehind) return {};
  return transfer.file->write_back(offset - kWrittenBehind, data.size(), true);
}

/// What is on disk by now is looked up again; after a failed sync nobody can know that.
Error Incoming::give_up(const std::string& dir, Transfer& transfer, Error why) {
  transfer.close();
  if (why.code == Errc::kIo) (void)remove_tree(disk_, dir);
  return why;
}

Result<std::uint64_t> Incoming::receive(const ReplicaIdentity& identity, const SnapshotPoint& point,
                                        std::uint64_t file_size, std::uint64_t offset, std::string_view data) {
  if (file_size == 0 || file_size % kPageBytes != 0)
    return Error(Errc::kInvalidArgument, "a snapshot of " + std::to_string(file_size) + " bytes is no database file");
  const std::shared_ptr<Transfer> transfer = of(identity.range);
  const std::lock_guard lock(transfer->mutex);
  const std::string name = name_of(identity, point), dir = dir_of(identity.range);
  if (!transfer->file || transfer->name != name || transfer->size != file_size) {
    transfer->close();
    auto opened = resume(dir, *transfer, name, file_size);
    if (!opened.ok()) opened = begin(dir, *transfer, name, file_size);
    if (!opened.ok()) return std::move(opened).error();
  }
  if (offset != transfer->received || data.empty()) return transfer->received;
  if (data.size() > transfer->size - transfer->received)
    return Error(Errc::kInvalidArgument, "the snapshot is longer than its sender said");
  auto written = write(dir, *transfer, data);
  if (!written.ok()) return give_up(dir, *transfer, std::move(written).error());
  return transfer->received;
}

Result<std::string> Incoming::seal(const ReplicaIdentity& identity, const SnapshotPoint& point) {
  const std::shared_ptr<Transfer> transfer = of(identity.range);
  const std::lock_guard lock(transfer->mutex);
  const std::string name = name_of(identity, point), dir = dir_of(identity.range);
  if (!transfer->file) TRY(resume(dir, *transfer, name, 0));
  if (transfer->name != name || transfer->received != transfer->size)
    return Error(Errc::kInvalidState, "the snapshot for range " + identity.range.to_string() +
                                          " is not whole: " + std::to_string(transfer->received) + " of " +
                                          std::to_string(transfer->size) + " bytes; send the rest");
  char header[32];
  ASSIGN_OR_RETURN(const std::size_t n, transfer->file->pread(0, header, sizeof header));
  const bool fits = std::uint64_t{get_be32(header + 28)} * kPageBytes == transfer->size;
  if (n != sizeof header || std::memcmp(header, "SQLite format 3", 16) != 0 || (point.exact() && !fits)) {
    transfer->close();
    TRY(remove_tree(disk_, dir));
    return Error(Errc::kCorrupt, "the snapshot for range " + identity.range.to_string() +
                                     " is no database file of its size; it was thrown away, send it again");
  }
  const auto synced = transfer->file->sync();
  if (!synced.ok()) return give_up(dir, *transfer, synced.error());
  transfer->close();
  return dir;
}

void Incoming::forget(RangeId range) {
  const std::shared_ptr<Transfer> transfer = of(range);
  {
    const std::lock_guard lock(transfer->mutex);
    transfer->close();
  }
  const std::lock_guard lock(mutex_);
  transfers_.erase(range);
}

}  // namespace outlast::storage
