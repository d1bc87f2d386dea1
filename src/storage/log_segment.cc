#include "storage/log_segment.h"

#include <algorithm>

namespace outlast::storage {
namespace {

Error damaged(const std::string& path, std::uint64_t offset) {
  return {Errc::kCorrupt, path + " is damaged at byte " + std::to_string(offset) +
                              ", in a part that was on disk; this replica must be rebuilt from another one"};
}

Result<std::string> read_at(File& file, std::uint64_t offset, std::size_t bytes) {
  std::string out(bytes, '\0');
  ASSIGN_OR_RETURN(const std::size_t n, file.pread(offset, out.data(), bytes));
  out.resize(n);
  return out;
}

/// Does the record continue what the scan has seen so far?
bool continues(const SegmentScan& scan, const RecordHeader& header) {
  return header.kind == RecordKind::kConfig || (header.prev == scan.end() && header.at.epoch >= scan.end().epoch);
}

}  // namespace

Epoch SegmentScan::epoch_at(std::size_t index) const {
  const Lsn lsn(prev.lsn.value + 1 + index);
  const auto after = std::ranges::upper_bound(epochs, lsn, {}, &EpochRun::first);
  OUTLAST_ASSERT(after != epochs.begin());
  return std::prev(after)->epoch;
}

LogPosition SegmentScan::position(std::size_t index) const {
  return {Lsn(prev.lsn.value + 1 + index), epoch_at(index), spots[index].checksum};
}

void SegmentScan::add(const RecordHeader& header, std::uint32_t offset) {
  if (epochs.empty() || epochs.back().epoch != header.at.epoch) epochs.push_back({header.at.lsn, header.at.epoch});
  spots.push_back({offset, header.at.checksum});
}

Result<SegmentScan> scan_segment(File& file, std::uint32_t salt, const std::string& path) {
  SegmentScan scan;
  ASSIGN_OR_RETURN(scan.file_bytes, file.size());
  ASSIGN_OR_RETURN(const std::string head, read_at(file, 0, kSegmentHeaderBytes));
  auto header = decode_segment_header(head, salt);
  if (!header.ok()) return std::move(header.error()).within(path);
  scan.prev = header->prev;
  scan.good_bytes = kSegmentHeaderBytes;
  while (scan.good_bytes + kRecordHeaderBytes <= scan.file_bytes) {
    ASSIGN_OR_RETURN(const std::string bytes, read_at(file, scan.good_bytes, kRecordHeaderBytes));
    auto record = decode_record_header(bytes, salt);
    if (!record.ok() && record.error().code == Errc::kWrongVersion) return std::move(record.error()).within(path);
    if (!record.ok() || !continues(scan, *record)) break;
    const std::uint64_t next = scan.good_bytes + kRecordHeaderBytes + record->payload_bytes;
    if (next > scan.file_bytes) break;
    if (record->kind == RecordKind::kConfig) {
      ASSIGN_OR_RETURN(std::string text, read_at(file, scan.good_bytes + kRecordHeaderBytes, record->payload_bytes));
      if (!payload_matches(*record, text)) break;
      scan.config = std::move(text);
    } else {
      scan.add(*record, static_cast<std::uint32_t>(scan.good_bytes));
    }
    scan.synced_bytes = std::max(scan.synced_bytes, record->synced_bytes);
    scan.good_bytes = next;
  }
  return scan;
}

Result<SegmentScan> scan_tail(File& file, std::uint32_t salt, const std::string& path) {
  ASSIGN_OR_RETURN(SegmentScan scan, scan_segment(file, salt, path));
  // Payloads that nobody vouches for may be torn even under a whole header.
  for (std::size_t i = 0; i < scan.spots.size(); ++i) {
    const std::uint64_t offset = scan.spots[i].offset;
    if (offset < scan.synced_bytes) continue;
    ASSIGN_OR_RETURN(const std::string bytes, read_at(file, offset, kRecordHeaderBytes));
    ASSIGN_OR_RETURN(const RecordHeader header, decode_record_header(bytes, salt));
    ASSIGN_OR_RETURN(const std::string payload, read_at(file, offset + kRecordHeaderBytes, header.payload_bytes));
    if (payload_matches(header, payload)) continue;
    scan.spots.resize(i);
    const Lsn first_bad(scan.prev.lsn.value + 1 + i);
    while (!scan.epochs.empty() && scan.epochs.back().first >= first_bad) scan.epochs.pop_back();
    scan.good_bytes = offset;
    break;
  }
  if (scan.good_bytes < scan.file_bytes) {
    ASSIGN_OR_RETURN(const bool vouched, later_record_vouches(file, scan.good_bytes, scan.file_bytes, salt));
    if (vouched || scan.good_bytes < scan.synced_bytes) return damaged(path, scan.good_bytes);
  }
  return scan;
}

Result<bool> later_record_vouches(File& file, std::uint64_t from, std::uint64_t file_bytes, std::uint32_t salt) {
  constexpr std::size_t kWindow = std::size_t{1} << 20;
  for (std::uint64_t start = from; start + kRecordHeaderBytes <= file_bytes; start += kWindow) {
    ASSIGN_OR_RETURN(const std::string bytes, read_at(file, start, kWindow + kRecordHeaderBytes));
    const std::string_view magic(kRecordMagic, sizeof kRecordMagic);
    for (std::size_t at = bytes.find(magic); at != std::string::npos; at = bytes.find(magic, at + 1)) {
      const auto header = decode_record_header(std::string_view(bytes).substr(at), salt);
      if (header.ok() && header->synced_bytes > from) return true;
    }
  }
  return false;
}

}  // namespace outlast::storage
