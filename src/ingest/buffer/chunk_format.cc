#include "ingest/buffer/chunk_format.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/crc32c.h"

namespace outlast::ingest {
namespace {
constexpr std::string_view kMagic = "OUTCHUNK";
constexpr std::uint32_t kVersion = 1;
constexpr std::uint32_t kNamedVersion = 2;  ///< Of chunks with an origin, behind the tag.
constexpr std::size_t kFixedHeader = 8 + 4 + 4 + 8 + 8 + 8;
constexpr std::size_t kOrigin = 8 + 8 + 4;
constexpr std::size_t kReadSize = 1U << 20;
constexpr std::size_t kCrc = sizeof(std::uint32_t);
static_assert(kFixedHeader + kChunkTagMax + kOrigin + kCrc <= kChunkHeaderMax);

template <class T>
void put(std::string& to, T value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <class T>
T get(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

std::uint32_t frame_crc(std::uint32_t length, std::uint32_t records, std::string_view batch) {
  const std::uint32_t both[] = {length, records};
  return crc32c(batch, crc32c(both, sizeof both, 0));
}

}  // namespace

std::string encode_chunk_header(const ChunkFacts& facts) {
  OUTLAST_ASSERT(facts.tag.size() <= kChunkTagMax, "configurations and routes let no such tag pass");
  std::string bytes(kMagic);
  put(bytes, facts.origin ? kNamedVersion : kVersion);
  put(bytes, static_cast<std::uint32_t>(facts.tag.size()));
  put(bytes, facts.id.writer);
  put(bytes, facts.id.sequence);
  put(bytes, facts.created_micros);
  bytes += facts.tag;
  if (facts.origin) {
    put(bytes, facts.origin->writer);
    put(bytes, facts.origin->sequence);
    put(bytes, static_cast<std::uint32_t>(facts.form));
  }
  put(bytes, crc32c(bytes));
  return bytes;
}

Result<std::optional<ChunkHeader>> decode_chunk_header(std::string_view bytes) {
  const Error no_chunk(Errc::kCorrupt, "this is no chunk file: its header is damaged");
  if (!kMagic.starts_with(bytes.substr(0, kMagic.size()))) return no_chunk;
  if (bytes.size() < kFixedHeader) return std::optional<ChunkHeader>();
  const auto version = get<std::uint32_t>(bytes.data() + 8);
  if (version != kVersion && version != kNamedVersion)
    return Error(Errc::kWrongVersion, "the chunk file is of a version that this program cannot read; a later one can");
  const auto tag = get<std::uint32_t>(bytes.data() + 12);
  if (tag > kChunkTagMax) return no_chunk;
  const bool named = version == kNamedVersion;
  const std::size_t size = kFixedHeader + tag + (named ? kOrigin : 0) + kCrc;
  if (bytes.size() < size) return std::optional<ChunkHeader>();
  if (crc32c(bytes.substr(0, size - kCrc)) != get<std::uint32_t>(bytes.data() + size - kCrc)) return no_chunk;
  ChunkHeader header{.size = size};
  header.facts.id = {get<std::uint64_t>(bytes.data() + 16), get<std::uint64_t>(bytes.data() + 24)};
  header.facts.created_micros = get<std::int64_t>(bytes.data() + 32);
  header.facts.tag = bytes.substr(kFixedHeader, tag);
  if (!named) return std::optional(std::move(header));
  const char* const origin = bytes.data() + kFixedHeader + tag;
  const auto form = get<std::uint32_t>(origin + 16);
  if (form > static_cast<std::uint32_t>(RecordForm::kParsed)) return no_chunk;
  header.facts.origin = {get<std::uint64_t>(origin), get<std::uint64_t>(origin + 8)};
  header.facts.form = static_cast<RecordForm>(form);
  return std::optional(std::move(header));
}

std::string encode_frame_header(const RecordBatch& batch) {
  const auto length = static_cast<std::uint32_t>(batch.bytes());
  const auto records = static_cast<std::uint32_t>(batch.records());
  std::string bytes;
  put(bytes, length);
  put(bytes, records);
  put(bytes, frame_crc(length, records, batch.data()));
  return bytes;
}

FrameHeader decode_frame_header(const char* bytes) {
  return {get<std::uint32_t>(bytes), get<std::uint32_t>(bytes + 4), get<std::uint32_t>(bytes + 8)};
}

bool frame_is_whole(const FrameHeader& header, std::string_view batch) {
  return frame_crc(header.length, header.records, batch) == header.crc;
}

Result<bool> FrameReader::fill(std::size_t wanted) {
  if (buffer_.size() - at_ >= wanted) return true;
  buffer_.erase(0, at_);
  at_ = 0;
  if (wanted > buffer_.size() + (end_ - next_)) return false;
  while (buffer_.size() < wanted) {
    const std::size_t before = buffer_.size();
    const std::size_t size = std::min<std::uint64_t>(std::max(kReadSize, wanted - before), end_ - next_);
    ssize_t got = 0;
    buffer_.resize_and_overwrite(before + size, [&](char* data, std::size_t) {
      do got = ::pread(fd_, data + before, size, static_cast<off_t>(next_));
      while (got < 0 && errno == EINTR);
      return before + static_cast<std::size_t>(std::max<ssize_t>(got, 0));
    });
    if (got < 0) return Error(Errc::kIo, std::string("cannot read a chunk: ") + std::strerror(errno));
    if (got == 0) return false;
    next_ += static_cast<std::uint64_t>(got);
  }
  return true;
}

Result<std::optional<FrameReader::Frame>> FrameReader::next() {
  const std::optional<Frame> none;
  ASSIGN_OR_RETURN(const bool has_header, fill(kFrameHeader));
  if (!has_header) return none;
  const FrameHeader header = decode_frame_header(buffer_.data() + at_);
  if (header.records == 0) {
    damaged_ = true;  // we write no empty frames: these bytes are nobody's
    return none;
  }
  ASSIGN_OR_RETURN(const bool has_batch, fill(kFrameHeader + header.length));
  if (!has_batch) return none;
  const std::string_view batch(buffer_.data() + at_ + kFrameHeader, header.length);
  if (!frame_is_whole(header, batch)) {
    damaged_ = true;
    return none;
  }
  at_ += kFrameHeader + header.length;
  return std::optional(Frame{header.records, batch});
}

}  // namespace outlast::ingest
