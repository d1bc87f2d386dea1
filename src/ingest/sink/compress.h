#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace outlast::ingest {

enum class Compression : std::uint8_t { kNone, kGzip, kZstd };

/// ".gz", ".zst", "".
std::string_view suffix_of(Compression compression);

/// One member of a gzip file, or one frame of a zstd file: as many as one likes may stand one behind another.
class Compressor {
 public:
  virtual ~Compressor() = default;
  /// Appends to `out` what is ready. `last` ends the member.
  virtual Result<void> compress(std::string_view bytes, bool last, std::string& out) = 0;
  /// Null for kNone.
  static std::unique_ptr<Compressor> make(Compression compression);
};

}  // namespace outlast::ingest
