#include "ingest/buffer/unclaimed.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <filesystem>

#include "base/crc32c.h"
#include "ingest/buffer/chunk_directory.h"
#include "ingest/buffer/chunk_file.h"
#include "ingest/buffer/disk_error.h"

namespace outlast::ingest {
namespace {
namespace fs = std::filesystem;

Amount sum_of(const std::map<std::string, Amount>& files) {
  Amount sum;
  std::error_code error;
  for (const auto& [file, amount] : files)
    if (fs::exists(file, error)) sum.add(amount.records, amount.bytes, amount.chunks);
  return sum;
}

}  // namespace

std::string plain_path(const std::string& path) {
  std::string plain = fs::absolute(path).lexically_normal().string();
  while (plain.size() > 1 && plain.back() == '/') plain.pop_back();
  return plain;
}

std::string KnownDirectories::link_of(const BufferDirectory& directory) const {
  return fmt::format("{}/{}@{:08x}", place_, directory.sink, crc32c(directory.path));
}

Result<void> KnownDirectories::add(const BufferDirectory& directory) {
  if (place_.empty()) return {};
  std::error_code error;
  fs::create_directories(place_, error);
  if (error) return disk_error("make", place_, error.value());
  const std::string link = link_of(directory);
  fs::create_symlink(directory.path, link, error);
  if (error && error != std::errc::file_exists) return disk_error("make the link", link, error.value());
  return {};
}

std::vector<BufferDirectory> KnownDirectories::all() const {
  std::vector<BufferDirectory> directories;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(place_, error)) {
    const std::string name = entry.path().filename().string();
    const auto at = name.rfind('@');
    const std::string path = fs::read_symlink(entry.path(), error).string();
    if (!error && at != std::string::npos) directories.push_back({name.substr(0, at), path});
  }
  return directories;
}

void KnownDirectories::forget(const BufferDirectory& directory) {
  std::error_code ignored;  // then it is looked at once more the next time
  fs::remove(link_of(directory), ignored);
}

UnclaimedBuffers::~UnclaimedBuffers() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
}

void UnclaimedBuffers::look(std::vector<BufferDirectory> at, KnownDirectories& known) {
  if (at.empty() || thread_.joinable()) return;
  thread_ = std::thread([this, at = std::move(at), &known] {
    for (const BufferDirectory& directory : at) look_at(directory, known);
  });
}

void UnclaimedBuffers::look_at(const BufferDirectory& directory, KnownDirectories& known) {
  std::map<std::string, Amount> files;
  for (const std::string& place : {directory.path, directory.path + "/secondary"})
    for (const std::string& file : ChunkDirectory::files_left(place)) {
      if (stopping_) return;
      files.emplace(file, ChunkFile::measure(file));
    }
  const Amount held = sum_of(files);
  if (held.chunks == 0) {
    std::error_code error;  // one that is away may come back
    if (fs::exists(directory.path, error)) known.forget(directory);
    return;
  }
  spdlog::warn(
      "the buffer {} of the sink \"{}\" holds {} records ({} bytes) that no sink of this configuration takes; give a "
      "sink this name, or move the *.chunk files into the directory of another sink's buffer and restart",
      directory.path, directory.sink, held.records, held.bytes);
  const std::lock_guard lock(mutex_);
  files_.emplace(directory, std::move(files));
}

std::vector<UnclaimedBuffer> UnclaimedBuffers::found() const {
  std::vector<UnclaimedBuffer> found;
  const std::lock_guard lock(mutex_);
  for (const auto& [directory, files] : files_)
    if (const Amount held = sum_of(files); held.chunks > 0) found.push_back({directory.sink, directory.path, held});
  return found;
}

}  // namespace outlast::ingest
