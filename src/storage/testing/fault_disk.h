#pragma once
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/loop.h"
#include "storage/disk.h"

namespace outlast::storage::testing {

/// A disk for tests: real files, counted write points, and faults at them. Every change (write, truncate, sync,
/// rename, removal, creation, also those of SQLite) is one point, numbered from 1.
/// A crash fails everything from its point on; lose_unsynced() then takes back what a power cut may take: unsynced
/// writes one by one, whole or torn, and the latest unsynced changes of directories.
/// Thread-safety: any thread. Lifetime: files opened through it may outlive a crash, not the disk.
class FaultDisk final : public Disk {
 public:
  FaultDisk();
  ~FaultDisk() override;

  void crash_at(std::uint64_t point) { crash_at_ = point; }
  /// One failure: `point` fails with `code` and is not done.
  void fail_at(std::uint64_t point, Errc code) { fail_at_ = point, fail_code_ = code; }
  void disarm() { crash_at_ = fail_at_ = 0; }
  /// From now on all writes that need space fail.
  void set_full(bool full) { full_ = full; }
  std::uint64_t points() const { return points_; }
  bool crashed() const { return crashed_; }
  /// After a crash: what the machine's power cut leaves. Keeping everything (a killed process) is one of the outcomes.
  void lose_unsynced(Random& random);
  /// Takes orders again after a crash. Without a power cut everything written is there, and still not synced.
  void restart(Random& random, bool power_lost);
  /// Everything fails from now on, until restart().
  void crash() { crashed_ = true; }
  /// Called at every write point before it, on the thread that writes: a test may arm a fault for this very point.
  std::function<void()> on_point;

  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override;
  Result<void> sync_dir(const std::string& path) override;
  Result<void> rename(const std::string& from, const std::string& to) override;
  Result<void> remove(const std::string& path) override;
  Result<void> make_dir(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& path) override { return real_->list(path); }
  Result<std::uint64_t> file_size(const std::string& path) override { return real_->file_size(path); }
  Result<Space> space(const std::string& path) override {
    ASSIGN_OR_RETURN(Space space, real_->space(path));
    if (full_) space.free_bytes = 0;
    return space;
  }
  Result<void> copy(const std::string& from, const std::string& to) override;
  Result<std::unique_ptr<FileLock>> lock(const std::string& path, const std::string& holder) override {
    return real_->lock(path, holder);
  }
  Result<void> sqlite_io(SqliteOp op, const std::string& path, std::uint64_t offset, std::size_t bytes) override;

 private:
  friend class FaultFile;
  struct Change {  ///< One unsynced write or truncation, with what was there before.
    std::uint64_t offset;
    std::string before;
    std::uint64_t size_before, size_after;
  };
  struct Content {  ///< Follows a file through renames.
    std::unique_ptr<File> file;
    std::vector<Change> unsynced;
  };
  using ContentPtr = std::shared_ptr<Content>;
  struct DirChange {
    std::string dir;
    std::function<void()> undo;
  };

  Result<void> point(bool needs_space);
  Result<ContentPtr> content(const std::string& path);
  Result<void> note_write(Content& content, std::uint64_t offset, std::uint64_t bytes);
  Result<void> note_truncate(Content& content, std::uint64_t size);
  std::string aside();
  void undo(Content& content, Random& random, int mode);
  void lose(Random& random, int mode);

  const std::unique_ptr<Disk> real_;
  std::mutex mutex_;
  std::uint64_t points_{0}, crash_at_{0}, fail_at_{0};
  Errc fail_code_{Errc::kIo};
  bool crashed_{false}, full_{false};
  std::map<std::string, ContentPtr> contents_;
  std::vector<ContentPtr> all_;
  std::vector<DirChange> unsynced_dirs_;
  std::string trash_;
  std::uint64_t next_aside_{0};
};

/// A fresh directory, removed with the object; in memory where the machine offers that, so that syncs cost nothing.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace outlast::storage::testing
