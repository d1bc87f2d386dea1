#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "storage/space.h"

namespace outlast::storage {

/// An open file. Offsets and sizes in bytes. Thread-safety: any thread; the caller orders overlapping writes.
class File {
 public:
  virtual ~File() = default;
  /// Reads up to `bytes`; fewer only at the end of the file.
  virtual Result<std::size_t> pread(std::uint64_t offset, char* buffer, std::size_t bytes) = 0;
  /// Writes all parts one after another, or fails; after a failure any prefix may be there.
  virtual Result<void> pwrite(std::uint64_t offset, std::span<const std::string_view> parts) = 0;
  Result<void> pwrite(std::uint64_t offset, std::string_view bytes) { return pwrite(offset, std::span(&bytes, 1)); }
  /// Returns when content and size are on the disk (fdatasync). Never to be tried again after a failure.
  virtual Result<void> sync() = 0;
  virtual Result<void> truncate(std::uint64_t size) = 0;
  virtual Result<std::uint64_t> size() = 0;
  /// Takes the space for a file of `size` bytes, which it is yet to become. Success where the file system cannot.
  virtual Result<void> reserve(std::uint64_t) { return {}; }
  /// Begins to write this part to the disk. With `wait` it returns when that is done; size and space of the file then
  /// still need sync(). An error is as final as one of sync().
  virtual Result<void> write_back(std::uint64_t, std::uint64_t, bool /*wait*/) { return {}; }
  /// Writes past the system's cache: nothing is left to be written back, and nothing else leaves the cache for it.
  /// Offset and size are multiples of kDirectBytes, and so is the address. False: that cannot be done here, write
  /// otherwise. Like any write it is lasting after sync(). From one thread at a time.
  virtual Result<bool> write_direct(std::uint64_t, std::string_view) { return false; }
  static constexpr std::size_t kDirectBytes = 4096;
};

/// Held as long as the object lives; the kernel drops it with the process.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

enum class OpenMode : std::uint8_t {
  kRead,       ///< Must exist.
  kWrite,      ///< Read and write; must exist.
  kCreate,     ///< Read and write; made when missing, kept when there.
  kCreateNew,  ///< Read and write; made or emptied.
};

/// What SQLite does to its own files, through the VFS shim.
enum class SqliteOp : std::uint8_t { kWrite, kTruncate, kSync };

/// All of storage's contact with files, except SQLite's own reads and writes, which the shim announces here.
/// Errors: kNotFound, kAlreadyExists, kDiskFull, kIo, each with the path and what to do. Thread-safety: any thread.
/// Lifetime: outlives everything that was opened through it.
class Disk {
 public:
  virtual ~Disk() = default;
  virtual Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) = 0;
  /// Makes creations, renames and removals in the directory lasting.
  virtual Result<void> sync_dir(const std::string& path) = 0;
  virtual Result<void> rename(const std::string& from, const std::string& to) = 0;
  virtual Result<void> remove(const std::string& path) = 0;  ///< A file or an empty directory.
  virtual Result<void> make_dir(const std::string& path) = 0;
  /// Names in the directory, sorted, without "." and "..".
  virtual Result<std::vector<std::string>> list(const std::string& path) = 0;
  virtual Result<std::uint64_t> file_size(const std::string& path) = 0;
  /// Of the file system that `path` lies on.
  virtual Result<Space> space(const std::string& path) = 0;
  /// Copies a file inside the kernel where it can; not synced.
  virtual Result<void> copy(const std::string& from, const std::string& to) = 0;
  /// Takes the open-file-description lock on `path` (made when missing) and writes `holder` into it for people.
  /// kStoreLocked names the path and what the present holder wrote.
  virtual Result<std::unique_ptr<FileLock>> lock(const std::string& path, const std::string& holder) = 0;
  /// SQLite is about to do `op` on `path`; an error makes SQLite's call fail. Does nothing on a real disk.
  virtual Result<void> sqlite_io(SqliteOp op, const std::string& path, std::uint64_t offset, std::size_t bytes) = 0;
};

std::unique_ptr<Disk> make_posix_disk();

// Helpers over the interface.
bool exists(Disk& disk, const std::string& path);
/// The whole file. kTooLarge above `bytes_max`.
Result<std::string> read_file(Disk& disk, const std::string& path, std::size_t bytes_max = std::size_t{64} << 20);
/// Removes a directory with what is in it; nothing there is success.
Result<void> remove_tree(Disk& disk, const std::string& path);
/// Removes a file; nothing there is success.
Result<void> remove_if_there(Disk& disk, const std::string& path);
/// Does the disk take a small write in this directory, and sync it?
Result<void> try_disk(Disk& disk, const std::string& dir);

}  // namespace outlast::storage
