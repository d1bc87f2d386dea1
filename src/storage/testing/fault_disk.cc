#include "storage/testing/fault_disk.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <numeric>

namespace outlast::storage::testing {
namespace {

std::string parent_of(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}
Error crash_error() {
  return {Errc::kIo, "the simulated machine has crashed"};
}

}  // namespace

class FaultFile final : public File {
 public:
  FaultFile(FaultDisk& disk, FaultDisk::ContentPtr content) : disk_(disk), content_(std::move(content)) {}
  Result<std::size_t> pread(std::uint64_t offset, char* buffer, std::size_t bytes) override {
    return content_->file->pread(offset, buffer, bytes);
  }
  Result<void> pwrite(std::uint64_t offset, std::span<const std::string_view> parts) override {
    const std::lock_guard lock(disk_.mutex_);
    const std::uint64_t bytes = std::accumulate(parts.begin(), parts.end(), std::uint64_t{0},
                                                [](std::uint64_t sum, std::string_view p) { return sum + p.size(); });
    auto allowed = disk_.point(true);
    const bool torn = !allowed.ok() && disk_.crashed_ && disk_.points_ == disk_.crash_at_;
    if (!allowed.ok() && !torn) return allowed;
    TRY(disk_.note_write(*content_, offset, bytes));
    if (!torn) return content_->file->pwrite(offset, parts);
    // The crash comes in the middle of this write.
    std::string whole;
    for (const std::string_view part : parts) whole += part;
    TRY(content_->file->pwrite(offset, std::string_view(whole).substr(0, whole.size() / 2)));
    return allowed;
  }
  Result<void> sync() override {
    const std::lock_guard lock(disk_.mutex_);
    TRY(disk_.point(false));
    content_->unsynced.clear();
    return {};
  }
  Result<void> truncate(std::uint64_t size) override {
    const std::lock_guard lock(disk_.mutex_);
    TRY(disk_.point(false));
    TRY(disk_.note_truncate(*content_, size));
    return content_->file->truncate(size);
  }
  Result<std::uint64_t> size() override { return content_->file->size(); }

 private:
  FaultDisk& disk_;
  const FaultDisk::ContentPtr content_;
};

FaultDisk::FaultDisk() : real_(make_posix_disk()) {}
FaultDisk::~FaultDisk() {
  if (!trash_.empty()) std::filesystem::remove_all(trash_);
}

Result<void> FaultDisk::point(bool needs_space) {
  if (crashed_) return crash_error();
  if (on_point) on_point();
  if (crashed_) return crash_error();
  ++points_;
  if (points_ == crash_at_) {
    crashed_ = true;
    return crash_error();
  }
  if (points_ == fail_at_) return Error(fail_code_, "a fault was planted at this write point");
  if (full_ && needs_space) return Error(Errc::kDiskFull, "the simulated disk is full");
  return {};
}

Result<FaultDisk::ContentPtr> FaultDisk::content(const std::string& path) {
  if (const auto it = contents_.find(path); it != contents_.end()) return it->second;
  auto made = std::make_shared<Content>();
  ASSIGN_OR_RETURN(made->file, real_->open(path, OpenMode::kWrite));
  contents_[path] = made;
  all_.push_back(made);
  return made;
}

Result<void> FaultDisk::note_write(Content& content, std::uint64_t offset, std::uint64_t bytes) {
  ASSIGN_OR_RETURN(const std::uint64_t size, content.file->size());
  Change change{offset, std::string(bytes, '\0'), size, std::max(size, offset + bytes)};
  ASSIGN_OR_RETURN(const std::size_t n, content.file->pread(offset, change.before.data(), bytes));
  change.before.resize(n);
  content.unsynced.push_back(std::move(change));
  return {};
}

Result<void> FaultDisk::note_truncate(Content& content, std::uint64_t size) {
  ASSIGN_OR_RETURN(const std::uint64_t now, content.file->size());
  if (size >= now) return {};
  TRY(note_write(content, size, now - size));
  content.unsynced.back().size_after = size;
  return {};
}

Result<std::unique_ptr<File>> FaultDisk::open(const std::string& path, OpenMode mode) {
  const std::lock_guard lock(mutex_);
  if (crashed_) return crash_error();
  const bool there = exists(*real_, path);
  if (there && mode == OpenMode::kCreateNew) {
    ASSIGN_OR_RETURN(const ContentPtr old, content(path));
    TRY(point(false));
    TRY(note_truncate(*old, 0));
    TRY(old->file->truncate(0));
  } else if (!there && (mode == OpenMode::kCreate || mode == OpenMode::kCreateNew)) {
    TRY(point(true));
    ASSIGN_OR_RETURN(const auto made, real_->open(path, OpenMode::kCreateNew));
    contents_.erase(path);
    unsynced_dirs_.push_back({parent_of(path), [path] { ::unlink(path.c_str()); }});
  }
  ASSIGN_OR_RETURN(ContentPtr found, content(path));
  return std::unique_ptr<File>(std::make_unique<FaultFile>(*this, std::move(found)));
}

Result<void> FaultDisk::sync_dir(const std::string& path) {
  const std::lock_guard lock(mutex_);
  TRY(point(false));
  std::erase_if(unsynced_dirs_, [&](const DirChange& change) { return change.dir == path; });
  return {};
}

std::string FaultDisk::aside() {
  if (trash_.empty()) {
    trash_ = (std::filesystem::temp_directory_path() / "outlast-fault-XXXXXX").string();
    if (exists(*real_, "/dev/shm")) trash_ = "/dev/shm/outlast-fault-XXXXXX";
    OUTLAST_ASSERT(::mkdtemp(trash_.data()) != nullptr);
  }
  return trash_ + "/" + std::to_string(next_aside_++);
}

Result<void> FaultDisk::rename(const std::string& from, const std::string& to) {
  const std::lock_guard lock(mutex_);
  TRY(point(false));
  std::string kept;
  struct stat facts;
  if (::stat(to.c_str(), &facts) == 0 && S_ISREG(facts.st_mode)) {
    kept = aside();
    OUTLAST_ASSERT(::link(to.c_str(), kept.c_str()) == 0, "the test's directories lie on one file system");
  }
  TRY(real_->rename(from, to));
  std::map<std::string, ContentPtr> moved;
  for (auto it = contents_.begin(); it != contents_.end();) {
    if (it->first == from || it->first.starts_with(from + "/")) {
      moved[to + it->first.substr(from.size())] = it->second;
      it = contents_.erase(it);
    } else {
      ++it;
    }
  }
  for (auto& [path, content] : moved) contents_[path] = content;
  unsynced_dirs_.push_back({parent_of(to), [from, to, kept] {
                              ::rename(to.c_str(), from.c_str());
                              if (!kept.empty()) ::rename(kept.c_str(), to.c_str());
                            }});
  return {};
}

Result<void> FaultDisk::remove(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (!exists(*real_, path)) return real_->remove(path);
  struct stat facts;
  if (::stat(path.c_str(), &facts) == 0 && S_ISDIR(facts.st_mode) && !std::filesystem::is_empty(path))
    return Error(Errc::kAlreadyExists, path + " is not empty");
  TRY(point(false));
  if (S_ISDIR(facts.st_mode)) {
    TRY(real_->remove(path));
    unsynced_dirs_.push_back({parent_of(path), [path] { ::mkdir(path.c_str(), 0750); }});
    return {};
  }
  const std::string kept = aside();
  OUTLAST_ASSERT(::rename(path.c_str(), kept.c_str()) == 0);
  contents_.erase(path);
  unsynced_dirs_.push_back({parent_of(path), [path, kept] { ::rename(kept.c_str(), path.c_str()); }});
  return {};
}

Result<void> FaultDisk::make_dir(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (exists(*real_, path)) return real_->make_dir(path);
  TRY(point(true));
  TRY(real_->make_dir(path));
  unsynced_dirs_.push_back({parent_of(path), [path] { std::filesystem::remove_all(path); }});
  return {};
}

Result<void> FaultDisk::copy(const std::string& from, const std::string& to) {
  const std::lock_guard lock(mutex_);
  TRY(point(true));
  TRY(real_->copy(from, to));
  contents_.erase(to);
  unsynced_dirs_.push_back({parent_of(to), [to] { ::unlink(to.c_str()); }});
  return {};
}

Result<void> FaultDisk::sqlite_io(SqliteOp op, const std::string& path, std::uint64_t offset, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  TRY(point(op == SqliteOp::kWrite));
  if (path.ends_with("-wal")) return {};  // scratch: nobody reads it after a crash
  ASSIGN_OR_RETURN(const ContentPtr found, content(path));
  if (op == SqliteOp::kWrite) return note_write(*found, offset, bytes);
  if (op == SqliteOp::kTruncate) return note_truncate(*found, offset);
  found->unsynced.clear();
  return {};
}

void FaultDisk::undo(Content& content, Random& random, int mode) {
  bool all_later_undone = true;
  for (auto it = content.unsynced.rbegin(); it != content.unsynced.rend(); ++it) {
    if (mode == 2 && random.below(2) == 0) {
      all_later_undone = false;
      continue;
    }
    std::string_view before = it->before;
    const bool torn = mode == 2 && random.below(3) == 0;
    if (torn) before = before.substr(0, 512 * random.below(before.size() / 512 + 1));
    if (!before.empty()) OUTLAST_ASSERT(content.file->pwrite(it->offset, before).ok());
    if (torn || !all_later_undone) {
      all_later_undone = false;
    } else if (it->size_after > it->size_before) {
      OUTLAST_ASSERT(content.file->truncate(it->size_before).ok());
    }
  }
  content.unsynced.clear();
}

void FaultDisk::lose_unsynced(Random& random) {
  const std::lock_guard lock(mutex_);
  const int mode = static_cast<int>(random.below(4));  // 0 killed process, 1 all lost, 2 and 3 a mixture
  if (mode != 0) lose(random, mode);
}

void FaultDisk::restart(Random& random, bool power_lost) {
  const std::lock_guard lock(mutex_);
  if (power_lost) lose(random, 1 + static_cast<int>(random.below(3)));
  crashed_ = false;
  crash_at_ = fail_at_ = 0;
  std::erase_if(all_, [](const ContentPtr& content) { return content->unsynced.empty() && content.use_count() == 1; });
}

void FaultDisk::lose(Random& random, int mode) {
  for (const ContentPtr& content : all_) undo(*content, random, mode == 1 ? 1 : 2);
  // Directories are journalled in order: a suffix is lost.
  std::size_t keep = mode == 1 ? 0 : random.below(unsynced_dirs_.size() + 1);
  while (unsynced_dirs_.size() > keep) {
    unsynced_dirs_.back().undo();
    unsynced_dirs_.pop_back();
  }
  unsynced_dirs_.clear();  // what is left has reached the disk
  contents_.clear();       // the paths may name other files now
}

TempDir::TempDir() {
  std::string name =
      std::filesystem::is_directory("/dev/shm") ? "/dev/shm/outlast-test-XXXXXX" : "/tmp/outlast-test-XXXXXX";
  OUTLAST_ASSERT(::mkdtemp(name.data()) != nullptr);
  path_ = name;
}
TempDir::~TempDir() {
  std::filesystem::remove_all(path_);
}

}  // namespace outlast::storage::testing
