#include "handover/channel.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "handover/fd_passing.h"

namespace outlast::handover {
namespace {
constexpr std::size_t kHead = 4, kReadBytes = 64 * 1024;

std::uint32_t read_length(const char* at) {
  std::uint32_t length = 0;
  for (std::size_t i = 0; i < kHead; ++i)
    length |= static_cast<std::uint32_t>(static_cast<unsigned char>(at[i])) << (8 * i);
  return length;
}

Error gone() {
  return {Errc::kUnavailable, "the other worker of the handover is gone"};
}
}  // namespace

HandoverChannel::HandoverChannel(int fd) : fd_(fd) {
  fcntl(fd_, F_SETFL, fcntl(fd_, F_GETFL) | O_NONBLOCK);
  fcntl(fd_, F_SETFD, FD_CLOEXEC);
}

HandoverChannel::~HandoverChannel() {
  close(fd_);
  for (const Frame& frame : out_)
    if (frame.fd >= 0) close(frame.fd);
  for (const auto& [at, fd] : fds_) close(fd);
}

Result<void> HandoverChannel::send(const proto::HandoverMessage& message, int passed) {
  Frame frame{.fd = passed};
  const std::size_t size = message.ByteSizeLong();
  OUTLAST_ASSERT(size <= kFrameMax, "a handover message is too long");
  frame.bytes.reserve(kHead + size);
  for (std::size_t i = 0; i < kHead; ++i) frame.bytes.push_back(static_cast<char>(size >> (8 * i)));
  message.AppendToString(&frame.bytes);
  out_.push_back(std::move(frame));
  return flush();
}

Result<void> HandoverChannel::flush() {
  while (!out_.empty()) {
    Frame& frame = out_.front();
    const ssize_t n = send_with_fd(fd_, std::string_view(frame.bytes).substr(frame.sent), frame.fd);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS)) return {};
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return gone();
    if (frame.fd >= 0) close(std::exchange(frame.fd, -1));
    frame.sent += static_cast<std::size_t>(n);
    if (frame.sent == frame.bytes.size()) out_.pop_front();
  }
  return {};
}

Result<std::optional<HandoverChannel::Received>> HandoverChannel::receive() {
  for (;;) {
    ASSIGN_OR_RETURN(std::optional<Received> frame, take_frame());
    if (frame) return frame;
    if (in_.size() < filled_ + kReadBytes) in_.resize(filled_ + kReadBytes);
    int passed = -1;
    const ssize_t n = receive_with_fd(fd_, in_.data() + filled_, kReadBytes, passed);
    const int why = errno;
    if (n > 0) filled_ += static_cast<std::size_t>(n);
    if (passed >= 0) fds_.emplace_back(stream_at_ + filled_ - 1, passed);
    if (n > 0 || (n < 0 && why == EINTR)) continue;
    if (n < 0 && (why == EAGAIN || why == EWOULDBLOCK)) return std::optional<Received>();
    return gone();
  }
}

/// A descriptor travels with the first piece of its frame, and a receive ends with the piece that had one: the frame
/// with the receive's last byte is its frame.
Result<std::optional<HandoverChannel::Received>> HandoverChannel::take_frame() {
  const auto left = [this] { return filled_ - used_; };
  if (left() < kHead) return std::optional<Received>();
  const std::size_t size = read_length(in_.data() + used_);
  if (size > kFrameMax)
    return Error(Errc::kProtocolViolation, "a handover frame of " + std::to_string(size) + " bytes is too long");
  if (left() < kHead + size) return std::optional<Received>();
  Received received;
  if (!received.message.ParseFromArray(in_.data() + used_ + kHead, static_cast<int>(size)))
    return Error(Errc::kProtocolViolation, "a handover frame holds no message");
  used_ += kHead + size;
  while (!fds_.empty() && fds_.front().first < stream_at_ + used_) {
    if (received.fd >= 0) close(received.fd);
    received.fd = fds_.front().second;
    fds_.pop_front();
  }
  if (used_ >= kReadBytes || used_ == filled_) {
    std::memmove(in_.data(), in_.data() + used_, left());
    stream_at_ += used_;
    filled_ -= std::exchange(used_, 0);
  }
  return std::optional(std::move(received));
}

}  // namespace outlast::handover
