#pragma once
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "storage/disk.h"
#include "storage/replica.h"

namespace outlast::storage {

/// Memory that a disk can be written from directly. Grows to what was needed at once. Thread-safety: none.
class AlignedBytes {
 public:
  std::string_view copy_of(std::string_view bytes);

 private:
  struct Free {
    void operator()(char* memory) const { std::free(memory); }
  };
  std::unique_ptr<char, Free> memory_;
  std::size_t size_{0};
};

/// Snapshots that are arriving, one directory `<id>.incoming` each: `db` grows, `snapshot` says of what it is a copy
/// and how much of it is surely on disk, so that a transfer goes on where it stopped, also after a restart. Bytes are
/// on the disk, or on their way to it, soon after they came, so that little is left to sync at the end and other
/// writers of the disk do not wait behind a whole snapshot. Where the disk can be written directly, nothing of them
/// goes through the system's cache, which costs less and leaves the cache to those who read. Thread-safety: any thread;
/// snapshots of several ranges arrive side by side.
class Incoming {
 public:
  static constexpr std::uint64_t kSyncEvery = std::uint64_t{64} << 20;
  /// What came since the last sync of `sync_every` bytes is sent again after a crash.
  Incoming(Disk& disk, std::string root, std::uint64_t sync_every = kSyncEvery)
      : disk_(disk), root_(std::move(root)), sync_every_(sync_every) {}
  /// Takes the piece at `offset` and returns the offset that is wanted next; a piece that is not wanted (a repeat, or
  /// one after a gap) is ignored. A snapshot of another point or replica throws away what was there.
  Result<std::uint64_t> receive(const ReplicaIdentity& identity, const SnapshotPoint& point, std::uint64_t file_size,
                                std::uint64_t offset, std::string_view data);
  /// Checks that the snapshot is whole and syncs it; returns its directory. kInvalidState when something is missing.
  /// Of one that is not exact the header may be of a later state, of another size.
  Result<std::string> seal(const ReplicaIdentity& identity, const SnapshotPoint& point);
  void forget(RangeId range);

 private:
  struct Transfer {
    std::mutex mutex;            ///< Of all that follows.
    std::string name;            ///< Identity, position and size in one line: what the pieces must agree on.
    std::unique_ptr<File> file;  ///< Null: nothing is under way.
    std::uint64_t size{0};
    std::uint64_t received{0};
    std::uint64_t synced{0};
    AlignedBytes aligned;  ///< For what the disk takes directly.
    bool direct{true};     ///< It does, as far as is known.
    void close() { file.reset(), aligned = {}; }
  };
  std::string dir_of(RangeId range) const { return root_ + "/" + range.to_string() + ".incoming"; }
  std::shared_ptr<Transfer> of(RangeId range);
  Result<void> resume(const std::string& dir, Transfer& transfer, const std::string& name, std::uint64_t size);
  Result<void> begin(const std::string& dir, Transfer& transfer, const std::string& name, std::uint64_t size);
  Result<bool> write_direct(Transfer& transfer, std::string_view data);
  Result<void> write(const std::string& dir, Transfer& transfer, std::string_view data);
  Result<void> note_progress(const std::string& dir, Transfer& transfer);
  Error give_up(const std::string& dir, Transfer& transfer, Error why);

  Disk& disk_;
  const std::string root_;
  const std::uint64_t sync_every_;
  std::mutex mutex_;
  std::map<RangeId, std::shared_ptr<Transfer>> transfers_;
};

}  // namespace outlast::storage
