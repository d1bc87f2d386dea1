#include "rpc/wire.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <bit>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <cstring>

#include "rpc/piece_frame.h"

namespace outlast::rpc {
namespace asio = boost::asio;
using Tcp = asio::ip::tcp;

namespace {
static_assert(std::endian::native == std::endian::little, "lengths are written as they lie in memory");
constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kFrameBytesMax = std::size_t{1} << 30;
constexpr std::size_t kLargeBytes = 256 << 10;  // so much is worth a place of its own
constexpr std::size_t kKeptBytes =
    5 << 18;  // room for a piece of a snapshot; a buffer that grew beyond this is given back when it is empty

Error ended(const std::string& why) {
  return {Errc::kUnavailable, "the connection between the nodes ended: " + why};
}
}  // namespace

void append_frame(std::string& out, const google::protobuf::MessageLite& message) {
  const std::size_t bytes = message.ByteSizeLong(), at = out.size();
  OUTLAST_ASSERT(bytes <= kFrameBytesMax, "a message between nodes is too large");
  const auto length = static_cast<std::uint32_t>(bytes);
  out.resize(at + kFrameLengthBytes + bytes);
  std::memcpy(out.data() + at, &length, kFrameLengthBytes);
  message.SerializeWithCachedSizesToArray(reinterpret_cast<std::uint8_t*>(out.data() + at + kFrameLengthBytes));
}

void set_frame_length(std::string& frame, std::size_t bytes) {
  OUTLAST_ASSERT(bytes <= kFrameBytesMax, "a message between nodes is too large");
  const auto length = static_cast<std::uint32_t>(bytes);
  std::memcpy(frame.data(), &length, kFrameLengthBytes);
}

std::span<char> FrameCutter::space() {
  if (in_data_) return {data_.data() + data_end_, data_.size() - data_end_};
  if (begin_ == end_) {
    begin_ = end_ = 0;
    if (bytes_.size() > kKeptBytes) bytes_ = std::string();
  }
  const std::size_t lacks = wanted_ > end_ - begin_ ? wanted_ - (end_ - begin_) : 0;
  const std::size_t more = std::max(lacks, read_bytes_);
  if (begin_ > 0 && end_ + more > bytes_.size()) {
    std::memmove(bytes_.data(), bytes_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (end_ + more > bytes_.size()) bytes_.resize(end_ + more);
  return {bytes_.data() + end_, bytes_.size() - end_};
}

Result<std::optional<Frame>> FrameCutter::next() {
  if (in_data_) return frame_with_data();
  const std::size_t have = end_ - begin_;
  if (have < kFrameLengthBytes) return std::optional<Frame>();
  std::uint32_t length = 0;
  std::memcpy(&length, bytes_.data() + begin_, kFrameLengthBytes);
  if (length > kFrameBytesMax)
    return Error(Errc::kProtocolViolation, "a frame of " + std::to_string(length) + " bytes is none of Outlast's");
  wanted_ = kFrameLengthBytes + length;
  const std::string_view there(bytes_.data() + begin_ + kFrameLengthBytes, std::min(have, wanted_) - kFrameLengthBytes);
  if (have < wanted_) {
    if (pieces_aside_ && length >= kLargeBytes) look_for_data(there, length);
    return std::optional<Frame>();
  }
  begin_ += wanted_;
  wanted_ = 0;
  return std::optional(Frame{there, {}});
}

/// From here on the rest of the frame is read into memory of its own.
void FrameCutter::look_for_data(std::string_view there, std::size_t frame_bytes) {
  const auto layout = layout_of_piece(there, frame_bytes);
  if (!layout) return;
  const std::string_view first = there.substr(layout->data_at);
  data_.resize_and_overwrite(frame_bytes - layout->data_at, [&](char* to, std::size_t bytes) {
    std::memcpy(to, first.data(), first.size());
    return bytes;
  });
  data_end_ = first.size();
  message_bytes_ = layout->message_bytes;
  in_data_ = true;
}

std::optional<Frame> FrameCutter::frame_with_data() {
  if (data_end_ < data_.size()) return std::nullopt;
  const std::string_view message(bytes_.data() + begin_ + kFrameLengthBytes, message_bytes_);
  in_data_ = false;
  begin_ = end_;
  wanted_ = 0;
  return Frame{message, std::move(data_)};
}

void tune(Tcp::socket& socket) {
  boost::system::error_code ignored;  // a connection that is gone already shows at the first read
  socket.set_option(Tcp::no_delay(true), ignored);
  socket.set_option(asio::socket_base::keep_alive(true), ignored);
  const auto set = [fd = socket.native_handle()](int option, int value) {
    [[maybe_unused]] const int rc = setsockopt(fd, IPPROTO_TCP, option, &value, sizeof value);
  };
  set(TCP_KEEPIDLE, 10);
  set(TCP_KEEPINTVL, 2);
  set(TCP_KEEPCNT, 3);
  set(TCP_USER_TIMEOUT, 15'000);
}

Patience::Patience(Tcp::socket& socket, std::chrono::seconds limit)
    : socket_(std::make_shared<Tcp::socket*>(&socket)), timer_(socket.get_executor(), limit) {
  timer_.async_wait([watched = socket_](const boost::system::error_code& error) {
    boost::system::error_code ignored;
    if (!error && *watched != nullptr) (*watched)->close(ignored);
  });
}

void Patience::good() {
  *socket_ = nullptr;
  timer_.cancel();
}

Result<std::pair<std::string, std::string>> split_address(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon + 1 == address.size())
    return Error(Errc::kInvalidArgument, "\"" + address + "\" is not HOST:PORT");
  std::string host = address.substr(0, colon);
  if (host.size() > 1 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return std::pair(std::move(host), address.substr(colon + 1));
}

asio::awaitable<Result<std::string_view>> read_frame(Tcp::socket& socket, FrameCutter& cutter) {
  for (;;) {
    auto frame = cutter.next();
    if (!frame.ok()) co_return std::move(frame).error();
    if (*frame) co_return (*frame)->bytes;
    const std::span<char> space = cutter.space();
    const auto [error, count] = co_await socket.async_read_some(asio::buffer(space.data(), space.size()), kTuple);
    if (error) co_return ended(error.message());
    cutter.filled(count);
  }
}

asio::awaitable<Result<void>> open_wire(Tcp::socket& socket, std::string address, proto::WireHello hello) {
  auto parts = split_address(address);
  if (!parts.ok()) co_return std::move(parts).error();
  Tcp::resolver resolver(socket.get_executor());
  const auto [unknown, found] = co_await resolver.async_resolve(parts->first, parts->second, kTuple);
  if (unknown) co_return Error(Errc::kUnavailable, "cannot find " + address + ": " + unknown.message());
  const auto [refused, where] = co_await asio::async_connect(socket, found, kTuple);
  if (refused) co_return Error(Errc::kUnavailable, "cannot connect to " + address + ": " + refused.message());
  tune(socket);
  std::string bytes(kWireMagic);
  append_frame(bytes, hello);
  const auto [broken, written] = co_await asio::async_write(socket, asio::buffer(bytes), kTuple);
  if (broken) co_return ended(broken.message());
  FrameCutter cutter;  // nothing follows the welcome before we have spoken
  const auto frame = co_await read_frame(socket, cutter);
  if (!frame.ok()) co_return frame.error();
  proto::WireWelcome answer;
  if (!answer.ParseFromArray(frame->data(), static_cast<int>(frame->size())))
    co_return Error(Errc::kProtocolViolation, address + " does not answer like a node of Outlast");
  if (!answer.code().empty()) co_return Error(errc_from_name(answer.code()), answer.message());
  co_return Result<void>();
}

asio::awaitable<Result<proto::WireHello>> hear_wire(Tcp::socket& socket, const Hello& self) {
  std::string magic(kWireMagic.size(), '\0');
  const auto [error, taken] = co_await asio::async_read(socket, asio::buffer(magic), kTuple);
  if (error) co_return ended(error.message());
  FrameCutter cutter;  // nothing follows the hello before we have answered
  const auto frame = co_await read_frame(socket, cutter);
  if (!frame.ok()) co_return frame.error();
  proto::WireHello hello;
  if (!hello.ParseFromArray(frame->data(), static_cast<int>(frame->size())))
    co_return Error(Errc::kProtocolViolation, "the connection did not begin with a hello that this version reads");
  const auto checked = check_hello({hello.cluster(), NodeId(hello.node()), Incarnation(hello.incarnation())},
                                   NodeId(hello.to_node()), Incarnation(hello.to_incarnation()), self);
  if (!checked.ok()) co_return checked.error();
  co_return hello;
}

asio::awaitable<void> welcome(Tcp::socket& socket, Result<void> verdict) {
  proto::WireWelcome answer;
  if (!verdict.ok()) {
    answer.set_code(std::string(facts(verdict.error().code).name));
    answer.set_message(verdict.error().message);
  }
  std::string bytes;
  append_frame(bytes, answer);
  co_await asio::async_write(socket, asio::buffer(bytes), kTuple);  // a failure shows at the next read
}

}  // namespace outlast::rpc
