#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace outlast {

/// CRC-32C (Castagnoli, RFC 3720 B.4): in hardware where the CPU has SSE4.2. `seed` chains blocks.
std::uint32_t crc32c(const void* data, std::size_t size, std::uint32_t seed) noexcept;
inline std::uint32_t crc32c(std::string_view bytes, std::uint32_t seed = 0) noexcept {
  return crc32c(bytes.data(), bytes.size(), seed);
}

}  // namespace outlast
