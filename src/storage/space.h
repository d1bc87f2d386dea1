#pragma once
#include <algorithm>
#include <cstdint>

namespace outlast::storage {

/// How much room a disk has.
struct Space {
  std::uint64_t free_bytes{0}, total_bytes{0};
};

/// What no new write may use, so that recovery, checkpoints and records of configurations always find room: 64 MiB, or
/// a twentieth of a small disk.
inline std::uint64_t reserve_of(const Space& space) {
  return std::min(std::uint64_t{64} << 20, space.total_bytes / 20);
}

/// Is nothing but the reserve left? What was low stays so until there is a quarter more, so that it does not flicker.
inline bool is_low(const Space& space, bool was_low) {
  const std::uint64_t reserve = reserve_of(space);
  return space.free_bytes < (was_low ? reserve + reserve / 4 : reserve);
}

}  // namespace outlast::storage
