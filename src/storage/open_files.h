#pragma once
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "storage/disk.h"

namespace outlast::storage {

/// The log segments of a store that are open, least recently used first out: thousands of idle ranges hold no
/// descriptor. A file that somebody still holds stays open for him. Thread-safety: any thread.
class OpenFiles {
 public:
  explicit OpenFiles(Disk& disk, std::size_t files_max = 256) : disk_(disk), files_max_(files_max) {}
  Result<std::shared_ptr<File>> get(const std::string& path);
  void forget(const std::string& path);  ///< Before the path is removed or renamed.
  void forget_under(const std::string& dir);

 private:
  struct Slot {
    std::string path;
    std::shared_ptr<File> file;
  };
  Disk& disk_;
  const std::size_t files_max_;
  std::mutex mutex_;
  std::list<Slot> used_;  // most recent first
  std::unordered_map<std::string, std::list<Slot>::iterator> by_path_;
};

}  // namespace outlast::storage
