#pragma once
#include <google/protobuf/message_lite.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "proto/peer.pb.h"
#include "rpc/hello.h"

/// Data streams between nodes: plain TCP on the same port as gRPC, which costs several times as much for each message
/// (docs/adr/0005). The side that connects sends kWireMagic and a frame with a WireHello, the other one answers with a
/// WireWelcome; then both send frames. A frame is its length (4 bytes, little-endian) and a protobuf message.
namespace outlast::rpc {

inline constexpr std::string_view kWireMagic = "OLW1";
inline constexpr auto kBulk = static_cast<proto::WireHello::Stream>(2);

inline constexpr std::size_t kFrameLengthBytes = 4;
void append_frame(std::string& out, const google::protobuf::MessageLite& message);
/// Of the frame that begins there.
void set_frame_length(std::string& frame, std::size_t bytes);

struct Frame {
  std::string_view bytes;  ///< The message; without its data when that is beside it.
  std::string data;        ///< Of a large piece of a snapshot (rpc/piece_frame.h).
};

/// Cuts frames out of the bytes of one connection. Thread-safety: none.
class FrameCutter {
 public:
  /// `pieces_aside`: the frames are RangeMessages, and the data of large pieces is read to where it stays.
  explicit FrameCutter(std::size_t read_bytes = 8 << 10, bool pieces_aside = false)
      : read_bytes_(read_bytes), pieces_aside_(pieces_aside) {}
  /// Where to read the next bytes to: never empty. Frames handed out before are gone.
  std::span<char> space();
  void filled(std::size_t bytes) { (in_data_ ? data_end_ : end_) += bytes; }
  /// The next whole frame; nullopt: more bytes are needed. kProtocolViolation for a length that no frame has.
  Result<std::optional<Frame>> next();

 private:
  void look_for_data(std::string_view there, std::size_t frame_bytes);
  std::optional<Frame> frame_with_data();

  const std::size_t read_bytes_;
  const bool pieces_aside_;
  std::string bytes_;
  std::size_t begin_{0}, end_{0}, wanted_{0};
  bool in_data_{false};  ///< What comes next belongs there.
  std::string data_;
  std::size_t data_end_{0}, message_bytes_{0};
};

/// What a server has open, so that it can end it. Thread-safety: any thread.
class Connection {
 public:
  virtual ~Connection() = default;
  virtual void close() = 0;
};

/// Sends small frames at once; notices a peer that is silent for some 15 s.
void tune(boost::asio::ip::tcp::socket& socket);

/// Closes a socket that its owner did not call good in time. On the socket's executor.
class Patience {
 public:
  Patience(boost::asio::ip::tcp::socket& socket, std::chrono::seconds limit);
  ~Patience() { good(); }
  Patience(const Patience&) = delete;
  Patience& operator=(const Patience&) = delete;
  void good();

 private:
  std::shared_ptr<boost::asio::ip::tcp::socket*> socket_;  ///< Points to null once it is good.
  boost::asio::steady_timer timer_;
};

/// "host:port", "[::1]:port"; kInvalidArgument.
Result<std::pair<std::string, std::string>> split_address(const std::string& address);

/// Connects and shakes hands. Errors are the other side's, or kUnavailable; none of them has started anything there.
boost::asio::awaitable<Result<void>> open_wire(boost::asio::ip::tcp::socket& socket, std::string address,
                                               proto::WireHello hello);
/// The other side of it, after the magic was seen but not taken: reads the hello and checks it.
boost::asio::awaitable<Result<proto::WireHello>> hear_wire(boost::asio::ip::tcp::socket& socket, const Hello& self);
boost::asio::awaitable<void> welcome(boost::asio::ip::tcp::socket& socket, Result<void> verdict);

/// Reads one frame into `cutter`; kUnavailable when the connection ends first.
boost::asio::awaitable<Result<std::string_view>> read_frame(boost::asio::ip::tcp::socket& socket, FrameCutter& cutter);

}  // namespace outlast::rpc
