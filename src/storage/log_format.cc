#include "storage/log_format.h"

#include <cstring>

#include "base/crc32c.h"
#include "storage/bytes.h"

namespace outlast::storage {
namespace {

constexpr std::uint16_t kVersion = 1;  // of the framing
constexpr std::uint16_t kPlainPayload = 1, kPayloadWithResult = 2;
static_assert(kPayloadWithResult == kLogFormat);
constexpr char kSegmentMagic[4] = {'O', 'L', 'S', '1'};
constexpr std::size_t kPayloadHeadBytes = 40;  // before the tag
constexpr std::size_t kTagBytesMax = 4096;

Error bad(const char* what) {
  return {Errc::kCorrupt, std::string("the range log holds ") + what};
}

/// The part of a payload before the pages.
struct Head {
  std::uint32_t page_size{0}, db_pages{0}, pages{0};
  RequestOutcome request;
  std::size_t bytes{0};  ///< With its checksum.
};

Result<Head> decode_head(std::string_view payload) {
  if (payload.size() < kPayloadHeadBytes + 4) return bad("an entry that is too short");
  const char* p = payload.data();
  const auto version = get_le<std::uint16_t>(p);
  if (version > kPayloadWithResult)
    return Error(Errc::kWrongVersion, "a newer version of Outlast wrote this log entry; start that version");
  const std::size_t tag_bytes = get_le<std::uint16_t>(p + 2);
  std::size_t end = kPayloadHeadBytes + tag_bytes, result_bytes = 0;
  if (version == kPayloadWithResult) {
    if (payload.size() < end + 4) return bad("an entry that is too short");
    result_bytes = get_le<std::uint32_t>(p + end);
    end += 4 + result_bytes;
  }
  if (payload.size() < end + 4) return bad("an entry that is too short");
  if (get_le<std::uint32_t>(p + end) != crc32c(payload.substr(0, end)))
    return bad("an entry header that fails its checksum");
  Head head;
  head.page_size = get_le<std::uint32_t>(p + 4);
  head.db_pages = get_le<std::uint32_t>(p + 8);
  head.pages = get_le<std::uint32_t>(p + 12);
  head.request = {get_le<std::uint64_t>(p + 16), get_le<std::uint64_t>(p + 24), get_le<std::int64_t>(p + 32),
                  std::string(payload.substr(kPayloadHeadBytes, tag_bytes)),
                  std::string(payload.substr(end - result_bytes, result_bytes))};
  head.bytes = end + 4;
  return head;
}

}  // namespace

std::uint32_t entry_checksum(Lsn lsn, Epoch epoch, const LogPosition& prev, std::string_view payload) {
  std::string head;
  put_le(head, lsn.value);
  put_le(head, epoch.value);
  put_le(head, prev.checksum);
  return crc32c(payload, crc32c(head));
}

std::string encode(const CommitPages& commit, std::uint32_t newest) {
  const RequestOutcome& request = commit.request;
  OUTLAST_ASSERT(request.tag.size() <= kTagBytesMax && request.result.size() <= kResultBytesMax);
  const bool with_result = !request.result.empty() && newest >= kPayloadWithResult;
  std::string out;
  out.reserve(kPayloadHeadBytes + request.tag.size() + request.result.size() + 8 +
              commit.pages.size() * (8 + commit.page_size));
  put_le(out, with_result ? kPayloadWithResult : kPlainPayload);
  put_le(out, static_cast<std::uint16_t>(request.tag.size()));
  put_le(out, commit.page_size);
  put_le(out, commit.db_pages);
  put_le(out, static_cast<std::uint32_t>(commit.pages.size()));
  put_le(out, request.gateway);
  put_le(out, request.sequence);
  put_le(out, request.changes);
  out += request.tag;
  if (with_result) {
    put_le(out, static_cast<std::uint32_t>(request.result.size()));
    out += request.result;
  }
  put_le(out, crc32c(out));
  for (const auto& [number, image] : commit.pages) {
    OUTLAST_ASSERT(image.size() == commit.page_size);
    put_le(out, number);
    put_le(out, crc32c(image));
    out += image;
  }
  return out;
}

Result<CommitView> decode_view(std::string_view payload) {
  ASSIGN_OR_RETURN(Head head, decode_head(payload));
  CommitView view{head.page_size, head.db_pages, std::move(head.request), {}};
  const char* p = payload.data();
  const std::size_t one = 8 + std::size_t{view.page_size};
  if (payload.size() != head.bytes + head.pages * one) return bad("an entry of the wrong length");
  view.pages.reserve(head.pages);
  std::uint32_t last = 0;
  for (std::size_t at = head.bytes; at < payload.size(); at += one) {
    const auto number = get_le<std::uint32_t>(p + at);
    const std::string_view image = payload.substr(at + 8, view.page_size);
    if (number <= last || number > view.db_pages) return bad("an entry with page numbers out of order");
    if (get_le<std::uint32_t>(p + at + 4) != crc32c(image)) return bad("a page that fails its checksum");
    view.pages.emplace_back(number, image);
    last = number;
  }
  return view;
}

Result<RequestOutcome> request_of(std::string_view payload) {
  ASSIGN_OR_RETURN(Head head, decode_head(payload));
  return std::move(head.request);
}

Result<CommitPages> decode(std::string_view payload) {
  ASSIGN_OR_RETURN(const CommitView view, decode_view(payload));
  CommitPages commit{view.page_size, view.db_pages, view.request, {}};
  commit.pages.reserve(view.pages.size());
  for (const auto& [number, image] : view.pages) commit.pages.emplace_back(number, std::string(image));
  return commit;
}

std::string encode(const SegmentHeader& header, std::uint32_t salt) {
  std::string out(kSegmentMagic, 4);
  put_le(out, kVersion);
  put_le(out, std::uint16_t{0});
  put_le(out, header.prev.lsn.value);
  put_le(out, header.prev.epoch.value);
  put_le(out, header.prev.checksum);
  put_le(out, std::uint64_t{0});
  put_le(out, crc32c(out, salt));
  OUTLAST_ASSERT(out.size() == kSegmentHeaderBytes);
  return out;
}

Result<SegmentHeader> decode_segment_header(std::string_view bytes, std::uint32_t salt) {
  if (bytes.size() < kSegmentHeaderBytes || std::memcmp(bytes.data(), kSegmentMagic, 4) != 0)
    return bad("a segment without a header");
  const char* p = bytes.data();
  if (get_le<std::uint32_t>(p + 36) != crc32c(bytes.substr(0, 36), salt))
    return bad("a segment header that fails its checksum");
  if (get_le<std::uint16_t>(p + 4) > kVersion)
    return Error(Errc::kWrongVersion, "a newer version of Outlast wrote this log segment; start that version");
  return SegmentHeader{
      {Lsn(get_le<std::uint64_t>(p + 8)), Epoch(get_le<std::uint64_t>(p + 16)), get_le<std::uint32_t>(p + 24)}};
}

std::string encode(const RecordHeader& header, std::uint32_t salt) {
  std::string out(kRecordMagic, 4);
  put_le(out, kVersion);
  put_le(out, static_cast<std::uint16_t>(header.kind));
  put_le(out, header.payload_bytes);
  put_le(out, header.at.checksum);
  put_le(out, header.at.lsn.value);
  put_le(out, header.at.epoch.value);
  put_le(out, header.prev.epoch.value);
  put_le(out, header.prev.checksum);
  put_le(out, std::uint32_t{0});
  put_le(out, header.synced_bytes);
  put_le(out, std::uint32_t{0});
  put_le(out, crc32c(out, salt));
  OUTLAST_ASSERT(out.size() == kRecordHeaderBytes);
  return out;
}

Result<RecordHeader> decode_record_header(std::string_view bytes, std::uint32_t salt) {
  if (bytes.size() < kRecordHeaderBytes || std::memcmp(bytes.data(), kRecordMagic, 4) != 0)
    return bad("bytes that are no record");
  const char* p = bytes.data();
  if (get_le<std::uint32_t>(p + 60) != crc32c(bytes.substr(0, 60), salt))
    return bad("a record header that fails its checksum");
  const auto kind = get_le<std::uint16_t>(p + 6);
  if (get_le<std::uint16_t>(p + 4) > kVersion || (kind != 1 && kind != 2))
    return Error(Errc::kWrongVersion, "a newer version of Outlast wrote this log record; start that version");
  RecordHeader header;
  header.kind = static_cast<RecordKind>(kind);
  header.payload_bytes = get_le<std::uint32_t>(p + 8);
  header.at = {Lsn(get_le<std::uint64_t>(p + 16)), Epoch(get_le<std::uint64_t>(p + 24)), get_le<std::uint32_t>(p + 12)};
  if (header.kind == RecordKind::kEntry) {
    if (!header.at.lsn) return bad("an entry at LSN 0");
    header.prev = {Lsn(header.at.lsn.value - 1), Epoch(get_le<std::uint64_t>(p + 32)), get_le<std::uint32_t>(p + 40)};
  }
  header.synced_bytes = get_le<std::uint64_t>(p + 48);
  return header;
}

bool payload_matches(const RecordHeader& header, std::string_view payload) {
  if (header.kind == RecordKind::kConfig) return crc32c(payload) == header.at.checksum;
  return entry_checksum(header.at.lsn, header.at.epoch, header.prev, payload) == header.at.checksum;
}

}  // namespace outlast::storage
