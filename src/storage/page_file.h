#pragma once
#include <cstddef>
#include <string>

#include "base/ids.h"
#include "base/result.h"
#include "storage/disk.h"
#include "storage/range_log.h"

namespace outlast::storage {

/// Which image of a page wins when several entries of a batch carry it. Only a test plants the wrong one.
enum class ImageChoice { kLast, kFirst };

/// Writes the page images of the entries (from, to] into the database file `file`, last image per page, and gives the
/// file the size of the last entry. No sync. Whole images make it idempotent: repeating it over a file that holds any
/// later part of the same history gives the same bytes. Memory: about `batch_bytes`, or the largest entry.
Result<void> apply_entries(RangeLog& log, Lsn from, Lsn to, File& file, std::size_t batch_bytes = std::size_t{32} << 20,
                           ImageChoice choice = ImageChoice::kLast);

/// CRC-32C of a whole file and its size.
struct FileDigest {
  std::uint32_t crc{0};
  std::uint64_t bytes{0};
};
Result<FileDigest> digest_file(File& file);

}  // namespace outlast::storage
