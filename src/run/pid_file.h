#pragma once
#include <string>

#include "base/result.h"

namespace outlast::run {

/// A file with our pid, locked for as long as this lives and removed with it.
class PidFile {
 public:
  /// Nothing when `path` is empty. kStoreLocked: another process holds it.
  static Result<PidFile> take(const std::string& path);
  PidFile() = default;
  ~PidFile();
  PidFile(PidFile&& other) noexcept : path_(std::exchange(other.path_, {})), fd_(std::exchange(other.fd_, -1)) {}
  PidFile& operator=(PidFile&&) = delete;

 private:
  std::string path_;
  int fd_{-1};
};

/// The pid of the process that holds it now. kNotFound: nobody does.
Result<int> holder_of(const std::string& path);

}  // namespace outlast::run
