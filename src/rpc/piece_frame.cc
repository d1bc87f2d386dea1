#include "rpc/piece_frame.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include <cstring>

#include "rpc/wire.h"

namespace outlast::rpc {
namespace {
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;

constexpr std::uint32_t tag_of(int field) {
  return WireFormatLite::MakeTag(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
}
constexpr std::uint32_t kChunkTag = tag_of(proto::RangeMessage::kSnapshotChunkFieldNumber);
constexpr std::uint32_t kDataTag = tag_of(proto::SnapshotChunk::kDataFieldNumber);

std::string field_begin(std::uint32_t tag, std::size_t bytes) {
  std::uint8_t out[10];
  std::uint8_t* end = CodedOutputStream::WriteVarint32ToArray(tag, out);
  end = CodedOutputStream::WriteVarint32ToArray(static_cast<std::uint32_t>(bytes), end);
  return {reinterpret_cast<const char*>(out), static_cast<std::size_t>(end - out)};
}
}  // namespace

PieceFrame frame_of_piece(proto::RangeMessage piece) {
  PieceFrame out;
  if (piece.has_snapshot_chunk()) {
    out.data = std::move(*piece.mutable_snapshot_chunk()->mutable_data());
    piece.mutable_snapshot_chunk()->clear_data();
  }
  append_frame(out.head, piece);
  if (out.data.empty()) return out;
  const std::string inner = field_begin(kDataTag, out.data.size());
  out.head += field_begin(kChunkTag, inner.size() + out.data.size()) + inner;
  set_frame_length(out.head, out.head.size() - kFrameLengthBytes + out.data.size());
  return out;
}

std::optional<PieceLayout> layout_of_piece(std::string_view begin, std::size_t frame_bytes) {
  CodedInputStream in(reinterpret_cast<const std::uint8_t*>(begin.data()), static_cast<int>(begin.size()));
  const auto ends_frame = [&](std::uint32_t bytes) {
    return static_cast<std::size_t>(in.CurrentPosition()) + bytes == frame_bytes;
  };
  for (;;) {
    const auto field_at = static_cast<std::size_t>(in.CurrentPosition());
    const std::uint32_t tag = in.ReadTag();
    if (tag == 0) return std::nullopt;
    if (tag != kChunkTag) {
      if (!WireFormatLite::SkipField(&in, tag)) return std::nullopt;
      continue;
    }
    std::uint32_t bytes = 0;
    if (!in.ReadVarint32(&bytes)) return std::nullopt;
    if (!ends_frame(bytes)) {
      if (!in.Skip(static_cast<int>(bytes))) return std::nullopt;
      continue;
    }
    if (in.ReadTag() != kDataTag || !in.ReadVarint32(&bytes) || !ends_frame(bytes)) return std::nullopt;
    return PieceLayout{field_at, static_cast<std::size_t>(in.CurrentPosition())};
  }
}

}  // namespace outlast::rpc
