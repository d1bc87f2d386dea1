#pragma once
#include <cstdint>
#include <memory>
#include <shared_mutex>
#include <string>

#include "storage/disk.h"

namespace outlast::storage {

/// A file as it is now, readable for as long as the object lives, and copied only when it has to be: whoever is about
/// to change the file calls let_go() before, and from then on the copy is read. Thread-safety: any thread.
/// Lifetime: `disk` outlives it.
class HeldFile {
 public:
  /// `copy` is where the copy goes; it is removed with the object.
  static Result<std::shared_ptr<HeldFile>> hold(Disk& disk, std::string path, std::string copy);
  /// Of a copy that was made already.
  static Result<std::shared_ptr<HeldFile>> of_copy(Disk& disk, std::string copy);
  HeldFile(Disk& disk, std::string path, std::string copy, std::unique_ptr<File> file)
      : disk_(disk), path_(std::move(path)), copy_(std::move(copy)), file_(std::move(file)) {}
  ~HeldFile();
  HeldFile(const HeldFile&) = delete;
  HeldFile& operator=(const HeldFile&) = delete;

  std::uint64_t size() const { return size_; }
  Result<std::string> read(std::uint64_t offset, std::size_t bytes);
  /// The file may be changed when this returns. When no copy could be made, read() says so from now on.
  void let_go();

 private:
  Result<void> copy();

  Disk& disk_;
  const std::string path_;
  const std::string copy_;
  std::shared_mutex mutex_;
  std::unique_ptr<File> file_;
  bool held_{true};
  Result<void> copied_;
  std::uint64_t size_{0};
};

}  // namespace outlast::storage
