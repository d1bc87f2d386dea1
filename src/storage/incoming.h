#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "storage/disk.h"
#include "storage/replica.h"

namespace outlast::storage {

/// Snapshots that are arriving, one directory `<id>.incoming` each: `db` grows, `snapshot` says of what it is a copy
/// and how much of it is surely on disk, so that a transfer goes on where it stopped, also after a restart. Bytes are
/// on their way to the disk soon after they came, so that little is left to sync at the end and other writers of the
/// disk do not wait behind a whole snapshot. Thread-safety: any thread; snapshots of several ranges arrive side by
/// side.
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
  };
  std::string dir_of(RangeId range) const { return root_ + "/" + range.to_string() + ".incoming"; }
  std::shared_ptr<Transfer> of(RangeId range);
  Result<void> resume(const std::string& dir, Transfer& transfer, const std::string& name, std::uint64_t size);
  Result<void> begin(const std::string& dir, Transfer& transfer, const std::string& name, std::uint64_t size);
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
