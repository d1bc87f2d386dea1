#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "storage/disk.h"
#include "storage/log_format.h"

namespace outlast::storage {

/// Where one entry lies in its segment. Its epoch is in SegmentScan::epochs.
struct EntrySpot {
  std::uint32_t offset{0};
  std::uint32_t checksum{0};
};
struct EpochRun {
  Lsn first;  ///< From this entry on, up to the next run.
  Epoch epoch;
};

/// What a walk over the record headers of a segment found.
struct SegmentScan {
  LogPosition prev;              ///< Before the first entry.
  std::vector<EntrySpot> spots;  ///< One per entry.
  std::vector<EpochRun> epochs;
  std::string config;           ///< Last configuration record; "" when there is none.
  std::uint64_t good_bytes{0};  ///< End of the last valid record.
  std::uint64_t file_bytes{0};
  std::uint64_t synced_bytes{0};  ///< Highest claim of what was on disk.

  Epoch epoch_at(std::size_t index) const;
  LogPosition position(std::size_t index) const;  ///< Of the entry at prev.lsn + 1 + index.
  LogPosition end() const { return spots.empty() ? prev : position(spots.size() - 1); }
  void add(const RecordHeader& header, std::uint32_t offset);
};

/// Walks the headers, so that a sealed segment costs little; payloads of entries are checked when they are read.
Result<SegmentScan> scan_segment(File& file, std::uint32_t salt, const std::string& path);

/// The same for the last segment, whose end may be torn: checks the payloads of what was not known to be synced, and
/// shortens `good_bytes` to the valid prefix. A bad record is damage (kCorrupt) when a later one proves that it had
/// been synced; else it is a torn tail, which nobody was told about.
Result<SegmentScan> scan_tail(File& file, std::uint32_t salt, const std::string& path);

/// Is there, after `from`, a valid record that proves that the bytes at `from` had been synced?
Result<bool> later_record_vouches(File& file, std::uint64_t from, std::uint64_t file_bytes, std::uint32_t salt);

}  // namespace outlast::storage
