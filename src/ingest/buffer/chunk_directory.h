#pragma once
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "ingest/buffer/chunk.h"

namespace outlast::ingest {

/// An open file with flock(2), until it is destroyed.
class FileLock {
 public:
  /// False: another process has it, or the file cannot be opened (`create` makes one).
  bool take(const std::string& path, bool create);
  bool held() const { return fd_ >= 0; }
  /// Held, and others who open the path find it.
  bool stands() const;
  void drop();
  FileLock() = default;
  FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileLock& operator=(FileLock&& other) noexcept;
  ~FileLock() { drop(); }

 private:
  int fd_{-1};
};

/// The chunk files of one buffer, ID.chunk, in a directory that several processes may share. Each writer locks
/// WRITER.lock for as long as it lives; whoever has LOCK, one at a time, takes the chunks of writers that are gone.
class ChunkDirectory final : public ChunkStore {
 public:
  /// Makes the directory if need be. Errors: kIo, kAlreadyExists (another process has this writer's number).
  static Result<std::unique_ptr<ChunkDirectory>> open(std::string path, std::uint64_t writer);
  ~ChunkDirectory() override;

  /// Errors: kDiskFull, kIo; kAlreadyExists as open(), when the directory was away for a time.
  Result<std::shared_ptr<Chunk>> create(ChunkFacts facts) override;
  /// What processes that are gone left here, oldest first, each once. Tries to become the one process that takes them.
  /// Files that are no chunks stay where they are, and are named in the log.
  std::vector<std::shared_ptr<Chunk>> left_over();
  /// The files of chunks here whose writers are gone, for who only looks.
  static std::vector<std::string> files_left(const std::string& path);
  bool lasting() const override { return true; }
  const std::string& path() const { return path_; }
  /// Of torn tails, so far.
  std::uint64_t bytes_cut() const { return bytes_cut_; }

 private:
  ChunkDirectory(std::string path, std::uint64_t writer) : path_(std::move(path)), writer_(writer) {}
  Result<void> lock_own();
  std::string lock_path(std::uint64_t writer) const { return lock_path(path_, writer); }
  static std::string lock_path(const std::string& path, std::uint64_t writer);
  bool is_gone(std::uint64_t writer);
  std::shared_ptr<Chunk> recover(const std::string& file);
  std::string path_;
  std::uint64_t writer_;
  FileLock own_, all_;
  std::set<ChunkId> taken_;  ///< Taken over before, and not to be taken again.
  std::uint64_t bytes_cut_{0};
};

}  // namespace outlast::ingest
