#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "ingest/buffer/chunk.h"

namespace outlast::ingest {

/// The bytes of chunk files (chunk_file.h). Pure but for ChunkReader, which reads a descriptor.
inline constexpr std::size_t kFrameHeader = 12;
inline constexpr std::size_t kChunkHeaderMax = 4096;

/// Precondition: the tag fits (kChunkTagMax).
inline constexpr std::size_t kChunkTagMax = 1024;
std::string encode_chunk_header(const ChunkFacts& facts);
struct ChunkHeader {
  ChunkFacts facts;
  std::size_t size{0};
};
/// nullopt: the bytes end too early. kCorrupt: this is no header, or one of a later version.
Result<std::optional<ChunkHeader>> decode_chunk_header(std::string_view bytes);

struct FrameHeader {
  std::uint32_t length{0}, records{0}, crc{0};
};
/// The twelve bytes in front of a batch.
std::string encode_frame_header(const RecordBatch& batch);
FrameHeader decode_frame_header(const char* bytes);
bool frame_is_whole(const FrameHeader& header, std::string_view batch);

/// Reads frames from a file, some at a time.
class FrameReader {
 public:
  /// Reads `fd` from `from` up to `to`. Lifetime: the descriptor stays the caller's.
  FrameReader(int fd, std::uint64_t from, std::uint64_t to) : fd_(fd), next_(from), end_(to) {}
  struct Frame {
    std::uint32_t records{0};
    std::string_view batch;  ///< Valid until the next call.
  };
  /// nullopt: there is no further whole frame. Errors: kIo.
  Result<std::optional<Frame>> next();
  /// Where the last whole frame ends.
  std::uint64_t position() const { return next_ - (buffer_.size() - at_); }
  /// What follows has a whole frame's length, but not its checksum.
  bool damaged() const { return damaged_; }

 private:
  Result<bool> fill(std::size_t wanted);
  int fd_;
  std::uint64_t next_;  ///< What the buffer ends with, in the file.
  std::uint64_t end_;
  std::string buffer_;
  std::size_t at_{0};
  bool damaged_{false};
};

}  // namespace outlast::ingest
