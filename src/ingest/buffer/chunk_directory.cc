#include "ingest/buffer/chunk_directory.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <utility>

#include "ingest/buffer/chunk_file.h"
#include "ingest/buffer/disk_error.h"

namespace outlast::ingest {
namespace {
namespace fs = std::filesystem;
constexpr std::string_view kSuffix = ".chunk";
}  // namespace

bool FileLock::take(const std::string& path, bool create) {
  if (stands()) return true;
  drop();
  // Not for writing: a file system can be made read-only while its locks are held.
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | (create ? O_CREAT : 0), 0640);
  const bool locked = fd_ >= 0 && ::flock(fd_, LOCK_EX | LOCK_NB) == 0;
  if (locked && stands()) return true;
  const int why = locked ? EWOULDBLOCK : errno;  // between the two somebody took it for a dead process's
  drop();
  errno = why;
  return false;
}

bool FileLock::stands() const {
  struct stat facts{};
  return fd_ >= 0 && ::fstat(fd_, &facts) == 0 && facts.st_nlink > 0;
}

void FileLock::drop() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Result<std::unique_ptr<ChunkDirectory>> ChunkDirectory::open(std::string path, std::uint64_t writer) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return disk_error("make the buffer's directory", path, error.value());
  std::unique_ptr<ChunkDirectory> directory(new ChunkDirectory(std::move(path), writer));
  TRY(directory->lock_own());
  return directory;
}

Result<void> ChunkDirectory::lock_own() {
  if (own_.take(lock_path(writer_), true)) return {};
  if (errno == EWOULDBLOCK)
    return Error(Errc::kAlreadyExists,
                 "another process writes to the buffer " + path_ + " under the same number; give each its own");
  return disk_error("lock", lock_path(writer_), errno);
}

ChunkDirectory::~ChunkDirectory() {
  // Nobody needs our lock's file any more, once no chunk of ours is left: whoever finds one takes it as ours.
  ::unlink(lock_path(writer_).c_str());
}

std::string ChunkDirectory::lock_path(const std::string& path, std::uint64_t writer) {
  return path + "/" + ChunkId{writer, 0}.to_string().substr(0, 16) + ".lock";
}

Result<std::shared_ptr<Chunk>> ChunkDirectory::create(ChunkFacts facts) {
  // Had the directory been away, others would take our chunks for a dead process's.
  TRY(lock_own());
  const std::string path = path_ + "/" + facts.id.to_string() + std::string(kSuffix);
  return std::shared_ptr<Chunk>(std::make_shared<ChunkFile>(path, std::move(facts)));
}

bool ChunkDirectory::is_gone(std::uint64_t writer) {
  if (writer == writer_) return false;
  FileLock lock;
  // A writer makes its lock before its first chunk, so one without a lock is gone.
  const bool gone = lock.take(lock_path(writer), false) || errno == ENOENT;
  if (gone) ::unlink(lock_path(writer).c_str());
  return gone;
}

std::shared_ptr<Chunk> ChunkDirectory::recover(const std::string& file) {
  auto recovered = ChunkFile::recover(file);
  if (!recovered.ok()) {
    spdlog::error("a left-over chunk stays where it is: {}", recovered.error().message);
    return nullptr;
  }
  bytes_cut_ += recovered->cut;
  if (recovered->cut > 0)
    spdlog::warn("the left-over chunk {} ended in {} bytes of a batch that was not whole; they are cut off", file,
                 recovered->cut);
  return recovered->chunk;
}

std::vector<std::shared_ptr<Chunk>> ChunkDirectory::left_over() {
  std::vector<std::shared_ptr<Chunk>> chunks;
  if (!all_.take(path_ + "/LOCK", true)) return chunks;
  std::map<std::uint64_t, bool> gone;
  std::error_code error;
  std::vector<std::pair<ChunkId, std::string>> files;
  for (const auto& entry : fs::directory_iterator(path_, error)) {
    if (entry.path().extension() != kSuffix) continue;
    const auto id = ChunkId::from(entry.path().stem().string());
    if (id.ok() && id->writer != writer_ && !taken_.contains(*id)) files.emplace_back(*id, entry.path().string());
  }
  for (const auto& [id, file] : files) {
    if (!gone.contains(id.writer)) gone[id.writer] = is_gone(id.writer);
    if (!gone[id.writer]) continue;
    taken_.insert(id);
    if (auto chunk = recover(file)) chunks.push_back(std::move(chunk));
  }
  oldest_first(chunks);
  return chunks;
}

std::vector<std::string> ChunkDirectory::files_left(const std::string& path) {
  std::vector<std::string> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    const auto id = ChunkId::from(entry.path().stem().string());
    if (entry.path().extension() != kSuffix || !id.ok()) continue;
    FileLock lock;
    if (lock.take(lock_path(path, id->writer), false) || errno == ENOENT) files.push_back(entry.path().string());
  }
  return files;
}

}  // namespace outlast::ingest
