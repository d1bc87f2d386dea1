#include "storage/held_file.h"

#include <mutex>
#include <utility>

namespace outlast::storage {

Result<std::shared_ptr<HeldFile>> HeldFile::hold(Disk& disk, std::string path, std::string copy) {
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, disk.open(path, OpenMode::kRead));
  ASSIGN_OR_RETURN(const std::uint64_t size, file->size());
  auto held = std::make_shared<HeldFile>(disk, std::move(path), std::move(copy), std::move(file));
  held->size_ = size;
  return held;
}

Result<std::shared_ptr<HeldFile>> HeldFile::of_copy(Disk& disk, std::string copy) {
  ASSIGN_OR_RETURN(std::shared_ptr<HeldFile> held, hold(disk, copy, copy));
  held->held_ = false;
  return held;
}

HeldFile::~HeldFile() {
  // What stays behind is removed at the next open of the replica.
  if (!held_) [[maybe_unused]]
    const bool removed = disk_.remove(copy_).ok();
}

Result<std::string> HeldFile::read(std::uint64_t offset, std::size_t bytes) {
  const std::shared_lock lock(mutex_);
  TRY(copied_);
  Result<std::size_t> got = std::size_t{0};
  std::string out;
  out.resize_and_overwrite(bytes, [&](char* to, std::size_t) {
    got = file_->pread(offset, to, bytes);
    return got.ok() ? *got : 0;
  });
  if (!got.ok()) return std::move(got).error();
  return out;
}

void HeldFile::let_go() {
  const std::unique_lock lock(mutex_);
  if (std::exchange(held_, false)) copied_ = copy();
}

Result<void> HeldFile::copy() {
  TRY(disk_.copy(path_, copy_));
  ASSIGN_OR_RETURN(file_, disk_.open(copy_, OpenMode::kRead));
  return {};
}

}  // namespace outlast::storage
