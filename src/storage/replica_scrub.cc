#include "storage/replica_scrub.h"

#include <algorithm>

#include "base/crc32c.h"

namespace outlast::storage {

ReplicaScrub::ReplicaScrub(std::shared_ptr<ReplicaFiles> files)
    : files_(std::move(files)), mark_(files_->mark().lsn), read_(files_->log->start().lsn) {}

Result<std::size_t> ReplicaScrub::check_log(std::size_t bytes) {
  auto entries = files_->log->read(read_, bytes);
  if (!entries.ok() && entries.error().code == Errc::kCompacted) {  // trimmed meanwhile: all of it was applied
    read_ = files_->log->start().lsn;
    entries = files_->log->read(read_, bytes);
  }
  if (!entries.ok()) return entries.error();
  std::size_t size = 0;
  for (const LogEntryPtr& entry : *entries) {
    // The checksum covers the payload; a payload that it vouches for and that cannot be read is damage all the same.
    ASSIGN_OR_RETURN(const CommitView view, decode_view(entry->payload));
    note(*entry, view);
    read_ = entry->at.lsn;
    size += entry->payload.size();
  }
  return size;
}

void ReplicaScrub::note(const LogEntry& entry, const CommitView& view) {
  for (const auto& [number, image] : view.pages) {
    const auto known = pages_.find(number);
    if (entry.at.lsn <= mark_)
      pages_[number] = {crc32c(image)};
    else if (known != pages_.end())
      known->second.push_back(crc32c(image));
  }
}

Result<std::size_t> ReplicaScrub::check_file(std::size_t bytes) {
  ASSIGN_OR_RETURN(const auto file, files_->disk.open(files_->db_path(), OpenMode::kRead));
  std::string page(kPageBytes, '\0');
  std::size_t size = 0;
  for (auto it = pages_.lower_bound(next_page_); it != pages_.end() && size < bytes; ++it) {
    const auto& [number, images] = *it;
    next_page_ = number + 1;
    ASSIGN_OR_RETURN(const std::size_t n,
                     file->pread(std::uint64_t{number - 1} * kPageBytes, page.data(), page.size()));
    size += kPageBytes;
    if (n < kPageBytes) continue;  // the file became shorter
    const std::uint32_t crc = crc32c(page);
    if (std::ranges::find(images, crc) != images.end()) continue;
    ASSIGN_OR_RETURN(const bool newer, changed_since(number, crc));
    if (newer) continue;
    return Error(Errc::kCorrupt, files_->db_path() + ": page " + std::to_string(number) +
                                     " is not what the range log says; this replica must be rebuilt from another one");
  }
  return size;
}

/// The range goes on while it is scrubbed: did a later entry write this image? Also true when that cannot be told.
Result<bool> ReplicaScrub::changed_since(std::uint32_t page, std::uint32_t crc) {
  for (Lsn after = read_;;) {
    const auto entries = files_->log->read(after, std::size_t{1} << 20);
    if (!entries.ok() && entries.error().code == Errc::kCompacted) return true;
    if (!entries.ok()) return entries.error();
    if (entries->empty()) return false;
    for (const LogEntryPtr& entry : *entries) {
      ASSIGN_OR_RETURN(const CommitView view, decode_view(entry->payload));
      for (const auto& [number, image] : view.pages)
        if (number == page && crc32c(image) == crc) return true;
      after = entry->at.lsn;
    }
  }
}

}  // namespace outlast::storage
