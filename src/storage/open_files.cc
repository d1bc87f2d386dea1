#include "storage/open_files.h"

namespace outlast::storage {

Result<std::shared_ptr<File>> OpenFiles::get(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (const auto it = by_path_.find(path); it != by_path_.end()) {
    used_.splice(used_.begin(), used_, it->second);
    return it->second->file;
  }
  ASSIGN_OR_RETURN(std::unique_ptr<File> opened, disk_.open(path, OpenMode::kWrite));
  std::shared_ptr<File> file = std::move(opened);
  used_.push_front({path, file});
  by_path_[path] = used_.begin();
  if (used_.size() > files_max_) {
    by_path_.erase(used_.back().path);
    used_.pop_back();
  }
  return file;
}

void OpenFiles::forget(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (const auto it = by_path_.find(path); it != by_path_.end()) {
    used_.erase(it->second);
    by_path_.erase(it);
  }
}

void OpenFiles::forget_under(const std::string& dir) {
  const std::lock_guard lock(mutex_);
  for (auto it = used_.begin(); it != used_.end();) {
    if (it->path.starts_with(dir + "/")) {
      by_path_.erase(it->path);
      it = used_.erase(it);
    } else {
      ++it;
    }
  }
}

}  // namespace outlast::storage
