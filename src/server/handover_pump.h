#pragma once
#include <boost/asio/posix/stream_descriptor.hpp>
#include <functional>
#include <memory>

#include "base/ids.h"
#include "handover/channel.h"
#include "server/asio_loop.h"

namespace outlast::server {

/// One end of a handover's conversation, served on the node's loop. Thread-safety: loop only; destroying it is the end
/// of the conversation for the other side.
class HandoverPump {
 public:
  struct Events {
    std::function<void(handover::HandoverChannel::Received)> message;
    std::function<void()> gone;  ///< The other worker died or broke the rules; nothing comes after it.
  };
  /// Takes the socket over.
  HandoverPump(AsioLoop& loop, int fd, Events events);
  ~HandoverPump();
  HandoverPump(const HandoverPump&) = delete;
  HandoverPump& operator=(const HandoverPump&) = delete;

  /// `passed` is taken over. Nothing happens once the other side is gone: gone() tells, or has told.
  void send(const proto::HandoverMessage& message, int passed = -1);
  /// The other side is gone already, although gone() may not have told yet.
  bool hung_up();

 private:
  void read_more();
  void write_more();
  void on_readable();
  void end(const Error& why);

  handover::HandoverChannel channel_;
  boost::asio::posix::stream_descriptor waiter_;  ///< Of a copy: it only waits.
  const Events events_;
  bool writing_{false}, ended_{false};
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

/// This program's hello.
proto::HandoverMessage handover_hello(NodeId node, Incarnation incarnation);

}  // namespace outlast::server
