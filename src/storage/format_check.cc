#include "storage/format_check.h"

#include <algorithm>

#include "storage/log_format.h"
#include "storage/replica_files.h"

namespace outlast::storage {
namespace {
constexpr std::size_t kPayloadLook = std::size_t{64} << 10;  ///< Of an entry: its head is far smaller.

/// Everything but a newer program's format is passed over.
Result<void> only_version(const Error& error, const std::string& path) {
  if (error.code != Errc::kWrongVersion) return {};
  return Error(error.code, path + ": " + error.message);
}

std::string newest_segment(Disk& disk, const std::string& dir) {
  const auto names = disk.list(dir);
  if (!names.ok()) return {};
  const auto last = std::ranges::find_if(names->rbegin(), names->rend(),
                                         [](const std::string& name) { return name.starts_with("log."); });
  return last == names->rend() ? std::string() : dir + "/" + *last;
}

Result<std::string> read_at(File& file, std::uint64_t offset, std::size_t bytes) {
  std::string out(bytes, '\0');
  ASSIGN_OR_RETURN(const std::size_t n, file.pread(offset, out.data(), bytes));
  out.resize(n);
  return out;
}

/// Passes over the configurations that may stand before it.
Result<void> read_first_entry(Disk& disk, const std::string& path, std::uint32_t salt) {
  ASSIGN_OR_RETURN(const std::unique_ptr<File> file, disk.open(path, OpenMode::kRead));
  ASSIGN_OR_RETURN(const std::string head, read_at(*file, 0, kSegmentHeaderBytes));
  TRY(decode_segment_header(head, salt));
  for (std::uint64_t at = kSegmentHeaderBytes;;) {
    ASSIGN_OR_RETURN(const std::string record, read_at(*file, at, kRecordHeaderBytes));
    ASSIGN_OR_RETURN(const RecordHeader header, decode_record_header(record, salt));
    at += kRecordHeaderBytes;
    if (header.kind == RecordKind::kEntry) {
      ASSIGN_OR_RETURN(const std::string payload,
                       read_at(*file, at, std::min<std::size_t>(header.payload_bytes, kPayloadLook)));
      TRY(request_of(payload));
      return {};
    }
    at += header.payload_bytes;
  }
}

Result<void> check_replica(Disk& disk, const std::string& dir) {
  const auto identity = read_replica_identity(disk, dir);
  if (!identity.ok()) return only_version(identity.error(), dir);
  const std::string segment = newest_segment(disk, dir);
  if (segment.empty()) return {};
  const auto read = read_first_entry(disk, segment, log_salt(*identity));
  return read.ok() ? Result<void>() : only_version(read.error(), segment);
}

}  // namespace

Result<void> check_formats(Disk& disk, const std::string& path) {
  const auto replicas = disk.list(path + "/ranges");
  if (!replicas.ok()) return {};  // no replica yet
  for (const std::string& name : *replicas) TRY(check_replica(disk, path + "/ranges/" + name));
  return {};
}

}  // namespace outlast::storage
