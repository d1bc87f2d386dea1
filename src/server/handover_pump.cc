#include "server/handover_pump.h"

#include <fcntl.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <boost/asio/post.hpp>

#include "base/version.h"

namespace outlast::server {
namespace asio = boost::asio;
using asio::posix::stream_descriptor;
namespace {
constexpr int kMessagesAtOnce = 64;  // thousands of sessions must not keep the loop from its heartbeats
}

HandoverPump::HandoverPump(AsioLoop& loop, int fd, Events events)
    : channel_(fd), waiter_(loop.executor(), fcntl(fd, F_DUPFD_CLOEXEC, 0)), events_(std::move(events)) {
  read_more();
}

HandoverPump::~HandoverPump() {
  boost::system::error_code ignored;
  waiter_.close(ignored);
}

void HandoverPump::send(const proto::HandoverMessage& message, int passed) {
  if (ended_) {
    if (passed >= 0) close(passed);
    return;
  }
  // That the other side is gone is told by the next read, after what it said before.
  (void)channel_.send(message, passed);
  write_more();
}

bool HandoverPump::hung_up() {
  pollfd other{waiter_.native_handle(), 0, 0};
  return ended_ || (poll(&other, 1, 0) > 0 && (other.revents & POLLHUP) != 0);
}

void HandoverPump::write_more() {
  if (writing_ || !channel_.wants_write()) return;
  writing_ = true;
  waiter_.async_wait(stream_descriptor::wait_write,
                     [this, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
                       if (alive.expired() || error) return;
                       writing_ = false;
                       if (ended_ || !channel_.flush().ok()) return;
                       write_more();
                     });
}

void HandoverPump::read_more() {
  waiter_.async_wait(stream_descriptor::wait_read,
                     [this, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
                       if (alive.expired() || error) return;
                       on_readable();
                     });
}

/// An event may destroy this object.
void HandoverPump::on_readable() {
  const std::weak_ptr alive(alive_);
  for (int i = 0; i < kMessagesAtOnce; ++i) {
    auto received = channel_.receive();
    if (!received.ok()) return end(received.error());
    if (!received->has_value()) return read_more();
    events_.message(std::move(**received));
    if (alive.expired() || ended_) return;
  }
  asio::post(waiter_.get_executor(), [this, alive] {
    if (!alive.expired()) on_readable();
  });
}

void HandoverPump::end(const Error& why) {
  ended_ = true;
  if (why.code != Errc::kUnavailable) spdlog::error("handover: {}", why.message);
  const auto gone = events_.gone;
  gone();
}

proto::HandoverMessage handover_hello(NodeId node, Incarnation incarnation) {
  proto::HandoverMessage message;
  proto::HandoverHello& hello = *message.mutable_hello();
  hello.set_version(handover::kHandoverVersion);
  hello.set_capabilities(handover::kHandoverCapabilities);
  hello.set_build(program_version());
  hello.set_node(node.value);
  hello.set_incarnation(incarnation.value);
  return message;
}

}  // namespace outlast::server
