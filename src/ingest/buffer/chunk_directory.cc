#include "ingest/buffer/chunk_directory.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <tuple>
#include <utility>

#include "ingest/buffer/chunk_file.h"
#include "ingest/buffer/disk_error.h"

namespace outlast::ingest {
namespace {
namespace fs = std::filesystem;
constexpr std::string_view kSuffix = ".chunk";
}  // namespace

bool FileLock::take(const std::string& path, bool create) {
  if (held()) return true;
  fd_ = ::open(path.c_str(), O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0640);
  if (fd_ >= 0 && ::flock(fd_, LOCK_EX | LOCK_NB) == 0) return true;
  const int why = errno;
  drop();
  errno = why;
  return false;
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
  if (directory->own_.take(directory->lock_path(writer), true)) return directory;
  if (errno == EWOULDBLOCK)
    return Error(Errc::kAlreadyExists, "another process writes to the buffer " + directory->path_ +
                                           " under the same number; give each its own");
  return disk_error("lock", directory->lock_path(writer), errno);
}

ChunkDirectory::~ChunkDirectory() {
  // Nobody needs our lock's file any more, once no chunk of ours is left: whoever finds one takes it as ours.
  ::unlink(lock_path(writer_).c_str());
}

std::string ChunkDirectory::lock_path(std::uint64_t writer) const {
  return path_ + "/" + ChunkId{writer, 0}.to_string().substr(0, 16) + ".lock";
}

Result<std::shared_ptr<Chunk>> ChunkDirectory::create(ChunkFacts facts) {
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
  std::ranges::sort(chunks, [](const auto& a, const auto& b) {
    return std::tie(a->facts().created_micros, a->id()) < std::tie(b->facts().created_micros, b->id());
  });
  return chunks;
}

}  // namespace outlast::ingest
