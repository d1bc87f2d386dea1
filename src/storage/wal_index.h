#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace outlast::storage {

/// SQLite's wal-index ("shared memory") and its eight locks, on the heap: legal because only this process opens the
/// database (StoreDir's lock), and faster than the -shm file by the cost of a mutex and a system call per statement.
/// Dies with the process, so a crash leaves nothing stale. Thread-safety: any thread.
class WalIndex {
 public:
  static constexpr int kLocks = 8;  // SQLITE_SHM_NLOCK
  /// What one connection holds: bit i for lock i.
  struct Held {
    std::uint16_t shared{0}, exclusive{0};
  };
  /// The region, made of zeros when missing and `extend`; nullptr when missing, or when there is no memory for it.
  /// Never moves.
  volatile void* map(int region, int bytes, bool extend);
  /// Tests: there is memory for so many regions only.
  void limit(std::size_t regions) { regions_max_ = regions; }
  /// False when another connection is in the way.
  bool lock(int first, int count, bool exclusive, Held& held);
  void unlock(int first, int count, Held& held);
  /// Number of valid frames that readers can see; 0 before the first region exists.
  std::uint32_t frames() const;
  /// How many of them are in the database file.
  std::uint32_t backfilled() const;

 private:
  bool lock_one(int slot, bool exclusive, Held& held);
  std::uint32_t word(std::size_t offset) const;

  mutable std::mutex mutex_;  ///< Guards regions_.
  std::vector<std::unique_ptr<char[]>> regions_;
  std::size_t regions_max_{SIZE_MAX};
  std::atomic<char*> first_region_{nullptr};
  std::array<std::atomic<int>, kLocks> locks_{};  ///< -1 exclusive, else the number of sharers.
};

}  // namespace outlast::storage
