#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "proto/range.pb.h"

/// A piece of a snapshot as a frame whose last bytes are the piece's data: who sends it writes them from where they
/// were read to, who receives it reads them to where they stay, and nobody copies a megabyte in between. For protobuf
/// it is one message: a field that comes in two parts is merged. Programs that know nothing of this read and write it
/// too.
namespace outlast::rpc {

struct PieceFrame {
  std::string head;  ///< The frame's length and all of the message that is not data.
  std::string data;
};
PieceFrame frame_of_piece(proto::RangeMessage piece);

/// Where the data lies in a frame.
struct PieceLayout {
  std::size_t message_bytes{0};  ///< The frame's first bytes are the message without its data.
  std::size_t data_at{0};        ///< From here to the frame's end.
};
/// `begin`: the frame's first bytes, without its length. Empty: it is no such frame, or more bytes are needed to know.
std::optional<PieceLayout> layout_of_piece(std::string_view begin, std::size_t frame_bytes);

}  // namespace outlast::rpc
