#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "storage/commit_sink.h"
#include "storage/log_entry.h"

/// Bytes of the range log: the payload of an entry (also what travels to backups) and the framing on disk.
/// docs/storage.md draws them; log_format_test.cc holds golden bytes. Numbers are little-endian. Pure.
namespace outlast::storage {

inline constexpr std::uint32_t kPageBytes = 4096;  ///< Of every range: fixed by the template.

/// Newest version of payloads that this program reads and writes. A node's record says it, so that the others write
/// nothing that the node could not read.
inline constexpr std::uint32_t kLogFormat = 2;
/// Payload of an entry, of the oldest version that holds what there is to say, but none newer than `newest`: version 1
/// leaves out what RETURNING gave, version 2 keeps it.
std::string encode(const CommitPages& commit, std::uint32_t newest = kLogFormat);

/// A payload read in place: the images point into it.
struct CommitView {
  std::uint32_t page_size{0};
  std::uint32_t db_pages{0};
  RequestOutcome request;
  std::vector<std::pair<std::uint32_t, std::string_view>> pages;
};
/// kCorrupt when a length, an order or a checksum is wrong; kWrongVersion for a newer version.
Result<CommitView> decode_view(std::string_view payload);
Result<CommitPages> decode(std::string_view payload);
/// The request alone; costs nothing for the pages, which are not looked at.
Result<RequestOutcome> request_of(std::string_view payload);

// Framing. A segment file is a SegmentHeader and then records, each a RecordHeader and its payload. `salt` seeds the
// headers' checksums: it differs from replica to replica, so that bytes of another log never pass for ours.
inline constexpr std::size_t kSegmentHeaderBytes = 40;
inline constexpr std::size_t kRecordHeaderBytes = 64;
inline constexpr char kRecordMagic[4] = {'O', 'L', 'R', '1'};

struct SegmentHeader {
  LogPosition prev;  ///< Position before the first entry of the segment.
};
std::string encode(const SegmentHeader& header, std::uint32_t salt);
Result<SegmentHeader> decode_segment_header(std::string_view bytes, std::uint32_t salt);

enum class RecordKind : std::uint16_t { kEntry = 1, kConfig = 2 };

struct RecordHeader {
  RecordKind kind{RecordKind::kEntry};
  std::uint32_t payload_bytes{0};
  /// Entry: its position. Config: position of the log's end, with the checksum of the payload.
  LogPosition at;
  LogPosition prev;               ///< Entry only.
  std::uint64_t synced_bytes{0};  ///< Bytes of this segment known to be on disk when the record was written.
};
std::string encode(const RecordHeader& header, std::uint32_t salt);
/// kCorrupt for anything that is not a whole, valid header; kWrongVersion for a newer program's.
Result<RecordHeader> decode_record_header(std::string_view bytes, std::uint32_t salt);
/// Does the payload belong to the header?
bool payload_matches(const RecordHeader& header, std::string_view payload);

}  // namespace outlast::storage
