#include "rpc/wire_stream.h"

#include <sys/socket.h>

#include <array>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>

namespace outlast::rpc {
namespace asio = boost::asio;
namespace {
constexpr std::size_t kKeptBytes = 1 << 20;
}

void WireStream::start(OnFrames on_frames, OnEnd on_end) {
  on_frames_ = std::move(on_frames);
  on_end_ = std::move(on_end);
  read_more();
}

void WireStream::read_more() {
  const std::span<char> space = cutter_.space();
  socket_.async_read_some(asio::buffer(space.data(), space.size()),
                          [self = shared_from_this()](const boost::system::error_code& error, std::size_t bytes) {
                            if (error) return self->end({Errc::kUnavailable, error.message()});
                            self->take_frames(bytes);
                          });
}

void WireStream::take_frames(std::size_t bytes) {
  cutter_.filled(bytes);
  frames_.clear();
  for (;;) {
    auto frame = cutter_.next();
    if (!frame.ok()) return end(frame.error());
    if (!*frame) break;
    frames_.push_back(std::move(**frame));
  }
  if (!frames_.empty() && on_frames_ && !on_frames_(frames_))
    return end({Errc::kProtocolViolation, "the other node sent what this version cannot read"});
  read_more();
}

void WireStream::send(const google::protobuf::MessageLite& message) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    append_frame(waiting_, message);
    if (flushing_ || (sends_ == Sends::kAtOnce && send_at_once())) return;
    flushing_ = true;
  }
  asio::post(socket_.get_executor(), [self = shared_from_this()] { self->flush(); });
}

void WireStream::send_piece(PieceFrame piece) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    pieces_waiting_.push_back(std::move(piece));
    if (std::exchange(flushing_, true)) return;
  }
  asio::post(socket_.get_executor(), [self = shared_from_this()] { self->flush(); });
}

/// False when something is left for flush(), which also finds out why.
bool WireStream::send_at_once() {
  const ssize_t sent = ::send(socket_.native_handle(), waiting_.data(), waiting_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent > 0) waiting_.erase(0, static_cast<std::size_t>(sent));
  return waiting_.empty();
}

void WireStream::flush() {
  {
    const std::lock_guard lock(mutex_);
    writing_.head.clear();
    if (writing_.head.capacity() > kKeptBytes) writing_.head = std::string();
    writing_.data = std::string();
    if (closed_ || (waiting_.empty() && pieces_waiting_.empty())) {
      flushing_ = false;
      return;
    }
    if (waiting_.empty()) {
      writing_ = std::move(pieces_waiting_.front());
      pieces_waiting_.pop_front();
    } else {
      writing_.head.swap(waiting_);
    }
  }
  asio::async_write(socket_, std::array{asio::buffer(writing_.head), asio::buffer(writing_.data)},
                    [self = shared_from_this()](const boost::system::error_code& error, std::size_t) {
                      if (error) return self->end({Errc::kUnavailable, error.message()});
                      self->flush();
                    });
}

void WireStream::close() {
  asio::post(socket_.get_executor(),
             [self = shared_from_this()] { self->end({Errc::kUnavailable, "closed on this side"}); });
}

void WireStream::end(const Error& why) {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(closed_, true)) return;
    waiting_ = std::string();
    pieces_waiting_.clear();
  }
  boost::system::error_code ignored;
  socket_.close(ignored);
  on_frames_ = nullptr;
  if (auto told = std::exchange(on_end_, nullptr)) told(why);
}

}  // namespace outlast::rpc
