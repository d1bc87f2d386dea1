#pragma once
#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "ingest/stats.h"

namespace outlast::ingest {

/// A directory that the buffer of a sink has, or had.
struct BufferDirectory {
  std::string sink, path;
  friend auto operator<=>(const BufferDirectory&, const BufferDirectory&) = default;
};

/// Which directories the buffers of this node ever had, so that a change of the configuration forgets none: a symbolic
/// link SINK@CHECKSUM to each, in `place`. Thread-safety: any, and several processes.
class KnownDirectories {
 public:
  /// Empty: it knows none.
  explicit KnownDirectories(std::string place) : place_(std::move(place)) {}
  /// Errors: kIo.
  Result<void> add(const BufferDirectory& directory);
  std::vector<BufferDirectory> all() const;
  void forget(const BufferDirectory& directory);

 private:
  std::string link_of(const BufferDirectory& directory) const;
  std::string place_;
};

/// Finds chunks in directories that no sink has any more, names them in the log and keeps them in view.
/// Thread-safety: any thread.
class UnclaimedBuffers {
 public:
  ~UnclaimedBuffers();
  /// Looks through them on a thread of its own; once. A directory that is empty is forgotten by `known`, which outlives
  /// this.
  void look(std::vector<BufferDirectory> at, KnownDirectories& known);
  /// What was found and is still there.
  std::vector<UnclaimedBuffer> found() const;

 private:
  void look_at(const BufferDirectory& directory, KnownDirectories& known);
  std::thread thread_;
  std::atomic<bool> stopping_{false};
  mutable std::mutex mutex_;
  std::map<BufferDirectory, std::map<std::string, Amount>> files_;
};

/// As it stands in BufferDirectory: whole, without a slash at its end.
std::string plain_path(const std::string& path);

}  // namespace outlast::ingest
