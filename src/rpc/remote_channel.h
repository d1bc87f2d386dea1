#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <memory>
#include <mutex>
#include <set>

#include "executor/channel.h"
#include "proto/peer.grpc.pb.h"
#include "rpc/hello.h"

namespace outlast::rpc {

/// Opens channels to the executors of other nodes, one gRPC stream each (Peer.Execute).
/// Thread-safety: any thread.
class RemoteChannels {
 public:
  /// Replies are delivered on the executor of the awaiting coroutine.
  explicit RemoteChannels(Hello self);
  ~RemoteChannels();
  /// A channel to this incarnation of the node. The connection is made by the first call.
  std::unique_ptr<executor::Channel> open(NodeId node, Incarnation incarnation, const std::string& address);
  /// The incarnation is finished: its channels break at once instead of waiting for a process that may be stopped.
  void fence(NodeId node, Incarnation incarnation);
  void stop();

 private:
  class Stream;
  class RemoteChannel;
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

/// Server side of Peer.Execute: drives one LocalChannel a stream on `executor`.
grpc::ServerBidiReactor<proto::ExecUp, proto::ExecReply>* serve_channel(std::unique_ptr<executor::Channel> channel,
                                                                        boost::asio::any_io_executor executor);
grpc::ServerBidiReactor<proto::ExecUp, proto::ExecReply>* refuse_channel(const grpc::Status& status);

}  // namespace outlast::rpc
