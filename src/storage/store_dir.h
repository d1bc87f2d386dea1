#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "base/ids.h"
#include "base/result.h"
#include "storage/disk.h"

namespace outlast::storage {

/// What a store is, for ever: set once, at the node's first contact with its cluster.
struct StoreIdentity {
  std::string cluster_id;
  std::string store_uuid;
  NodeId node;
  friend bool operator==(const StoreIdentity&, const StoreIdentity&) = default;
};

/// The directory of --store: LOCK, IDENTITY, INCARNATION, RETIRED and ranges/. A directory without an IDENTITY is a new
/// store, so a wiped one comes back under a new uuid. Reading the identity needs no lock, and the lock can be dropped
/// and taken again while the object lives (a handover passes it from process to process). Thread-safety: any thread.
class StoreDir {
 public:
  /// Highest format that this program opens; IDENTITY carries the one that wrote the store.
  static constexpr std::uint32_t kFormat = 1;

  StoreDir(Disk& disk, std::string path, StoreIdentity identity, Incarnation incarnation);

  const std::string& path() const { return path_; }
  std::string ranges_path() const { return path_ + "/ranges"; }
  /// True until set_identity: nothing is stored here yet.
  bool is_new() const;
  StoreIdentity identity() const;
  /// Writes the identity, once, and returns when it is on disk. kAlreadyInitialised when there is another one.
  Result<void> set_identity(const StoreIdentity& identity);
  /// kWrongCluster when this store belongs to another cluster; a new store fits every cluster.
  Result<void> check_cluster(const std::string& cluster_id) const;

  /// The last incarnation that was recorded; 0 before the first.
  Incarnation incarnation() const;
  /// Must grow: kInvalidState otherwise, because an incarnation is never used twice.
  Result<void> record_incarnation(Incarnation incarnation);

  /// Its node left the cluster for good: open_store() refuses it from now on. Returns when that is on disk.
  Result<void> retire();

  /// Takes LOCK for this process. kStoreLocked names the path and the holder. Holding it already is success.
  Result<void> acquire_lock();
  void release_lock();
  bool locked() const;

 private:
  Disk& disk_;
  const std::string path_;
  mutable std::mutex mutex_;
  StoreIdentity identity_;
  Incarnation incarnation_;
  std::unique_ptr<FileLock> lock_;
};

/// Reads the store's identity; makes the directory (not its parents) when missing. Takes no lock: a caller that wants
/// to write calls acquire_lock() first. Errors: kWrongVersion for a newer format, kCorrupt, kIo, kInvalidState for the
/// store of a decommissioned node.
Result<std::unique_ptr<StoreDir>> open_store(Disk& disk, const std::string& path);

}  // namespace outlast::storage
