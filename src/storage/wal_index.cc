#include "storage/wal_index.h"

#include <cstring>
#include <new>

namespace outlast::storage {

volatile void* WalIndex::map(int region, int bytes, bool extend) {
  const std::lock_guard lock(mutex_);
  const auto index = static_cast<std::size_t>(region);
  if (index >= regions_.size() && !extend) return nullptr;
  while (regions_.size() <= index) {
    std::unique_ptr<char[]> made;
    if (regions_.size() < regions_max_) made.reset(new (std::nothrow) char[static_cast<std::size_t>(bytes)]());
    if (made == nullptr) return nullptr;
    regions_.push_back(std::move(made));
  }
  first_region_.store(regions_.front().get(), std::memory_order_release);
  return regions_[index].get();
}

bool WalIndex::lock_one(int slot, bool exclusive, Held& held) {
  const auto bit = static_cast<std::uint16_t>(1U << slot);
  if (((exclusive ? held.exclusive : held.shared) & bit) != 0) return true;
  std::atomic<int>& state = locks_[static_cast<std::size_t>(slot)];
  int now = state.load();
  do {
    if (exclusive ? now != 0 : now < 0) return false;
  } while (!state.compare_exchange_weak(now, exclusive ? -1 : now + 1));
  (exclusive ? held.exclusive : held.shared) |= bit;
  return true;
}

bool WalIndex::lock(int first, int count, bool exclusive, Held& held) {
  for (int slot = first; slot < first + count; ++slot)
    if (!lock_one(slot, exclusive, held)) {
      unlock(first, slot - first, held);
      return false;
    }
  return true;
}

void WalIndex::unlock(int first, int count, Held& held) {
  for (int slot = first; slot < first + count; ++slot) {
    const auto bit = static_cast<std::uint16_t>(1U << slot);
    std::atomic<int>& state = locks_[static_cast<std::size_t>(slot)];
    if ((held.exclusive & bit) != 0)
      state.store(0);
    else if ((held.shared & bit) != 0)
      state.fetch_sub(1);
    held.exclusive &= static_cast<std::uint16_t>(~bit);
    held.shared &= static_cast<std::uint16_t>(~bit);
  }
}

// Offsets of the WAL-index format: mxFrame of the first header, nBackfill behind the two headers.
std::uint32_t WalIndex::frames() const {
  return word(16);
}
std::uint32_t WalIndex::backfilled() const {
  return word(96);
}

std::uint32_t WalIndex::word(std::size_t offset) const {
  const char* region = first_region_.load(std::memory_order_acquire);
  if (region == nullptr) return 0;
  return __atomic_load_n(reinterpret_cast<const std::uint32_t*>(region + offset), __ATOMIC_ACQUIRE);
}

}  // namespace outlast::storage
