#pragma once
#include <boost/asio/ip/tcp.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "rpc/piece_frame.h"
#include "rpc/wire.h"

namespace outlast::rpc {

/// One connection after its handshake: frames in, in order, and frames out.
/// Thread-safety: send() and close() from any thread; `on_frames` and `on_end` are called on the socket's executor,
/// which must run one handler at a time. Lifetime: keeps itself alive until it has ended.
class WireStream final : public Connection, public std::enable_shared_from_this<WireStream> {
 public:
  enum class Sends : std::uint8_t {
    kAtOnce,    ///< On the caller's thread, as far as the kernel takes it.
    kTogether,  ///< What comes within one turn of the executor leaves in one piece.
  };
  using Frames = std::span<Frame>;
  using OnFrames = std::move_only_function<bool(Frames)>;     ///< False ends the connection.
  using OnEnd = std::move_only_function<void(const Error&)>;  ///< Once; nothing comes afterwards.

  /// `pieces_aside`: see FrameCutter.
  WireStream(boost::asio::ip::tcp::socket socket, Sends sends, std::size_t read_bytes, bool pieces_aside = false)
      : socket_(std::move(socket)), sends_(sends), cutter_(read_bytes, pieces_aside) {}
  /// On the socket's executor.
  void start(OnFrames on_frames, OnEnd on_end);
  void send(const google::protobuf::MessageLite& message);
  /// It is not copied, and goes behind what was given to send() by then.
  void send_piece(PieceFrame piece);
  void close() override;

 private:
  void read_more();
  void take_frames(std::size_t bytes);
  bool send_at_once();
  void flush();
  void end(const Error& why);

  boost::asio::ip::tcp::socket socket_;
  const Sends sends_;
  // Of the executor.
  FrameCutter cutter_;
  std::vector<Frame> frames_;
  OnFrames on_frames_;
  OnEnd on_end_;
  PieceFrame writing_;

  std::mutex mutex_;  ///< Of what follows, and held while another thread sends: the socket is not closed meanwhile.
  std::string waiting_;
  std::deque<PieceFrame> pieces_waiting_;
  bool flushing_{false};  ///< flush() is posted, or a write is under way.
  bool closed_{false};
};

}  // namespace outlast::rpc
