#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <mutex>

#include "executor/channel.h"
#include "rpc/hello.h"
#include "rpc/wire.h"

namespace outlast::rpc {

/// Opens channels to the executors of other nodes, one connection each.
/// Thread-safety: any thread.
class RemoteChannels {
 public:
  explicit RemoteChannels(Hello self);
  ~RemoteChannels();
  /// A channel to this incarnation of the node. The first call connects; all calls must come from one executor.
  std::unique_ptr<executor::Channel> open(NodeId node, Incarnation incarnation, const std::string& address);
  /// The incarnation is finished: its channels break at once instead of waiting for a process that may be stopped.
  void fence(NodeId node, Incarnation incarnation);
  void stop();

 private:
  class RemoteChannel;
  struct Line;
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

/// The other end: requests of one stream go to `channel`, answers back. `ended` when it is over and `channel` is gone.
std::shared_ptr<Connection> serve_channel(boost::asio::ip::tcp::socket socket,
                                          std::unique_ptr<executor::Channel> channel, std::function<void()> ended);

}  // namespace outlast::rpc
