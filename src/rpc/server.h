#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <memory>
#include <vector>

#include "base/loop.h"
#include "executor/channel.h"
#include "proto/peer.grpc.pb.h"
#include "rpc/peer_links.h"

namespace outlast::rpc {

/// What the server hands its calls to. All may be called on any thread; callbacks may be called on any thread.
struct Services {
  Hello self;
  PeerLinks* links{nullptr};
  std::function<std::unique_ptr<executor::Channel>(const Hello& gateway)> open_channel;
  std::function<void(proto::PlaceRequest, Callback<void>)> place;
  template <class Request, class Reply>
  using Ask = std::function<void(const Request&, Callback<Reply>)>;
  Ask<proto::DigestRequest, proto::DigestReply> digest;
  Ask<proto::ReplicasRequest, proto::ReplicasReply> replicas;
  Ask<proto::NodeStatusRequest, proto::NodeStatusReply> node_status;
  Ask<proto::RangesRequest, proto::RangesReply> ranges;
  Ask<proto::RangeRequest, proto::RangeReply> range;
  Ask<proto::VerifyRangeRequest, proto::VerifyRangeReply> verify_range;
  Ask<proto::RecoverRangeRequest, proto::RecoverRangeReply> recover_range;
  Ask<proto::MetaStatusRequest, proto::MetaStatusReply> meta_status;
  Ask<proto::RebuildMetaRequest, proto::RebuildMetaReply> rebuild_meta;
  Ask<proto::DrainRequest, proto::DrainReply> drain;
  Ask<proto::DecommissionRequest, proto::DecommissionReply> decommission;
  /// `from_node`: the leader frontend is meant, nobody else is to be asked.
  std::function<void(const proto::TasksRequest&, bool from_node, Callback<proto::TasksReply>)> tasks;
  Ask<proto::MaintenanceRequest, proto::MaintenanceReply> maintenance;
  Ask<proto::RestartRequest, proto::RestartReply> restart;
  Ask<proto::StatementsRequest, proto::StatementsReply> statements;
  Ask<proto::SafeToStopRequest, proto::SafeToStopReply> safe_to_stop;
  Ask<proto::RollingRestartRequest, proto::RollingRestartReply> rolling_restart;
  Ask<proto::ExitingRequest, proto::ExitingReply> exiting;
  Ask<proto::StopRequest, proto::StopReply> stop;
  /// Membership of the caller: an error refuses it (decommissioned nodes).
  std::function<Result<void>(const Hello&)> admit;
};

class Listener;

/// The node-to-node and CLI-to-node server of one worker, on a listener of its own (A8.1): gRPC calls and data streams
/// on one port.
class Server {
 public:
  /// Binds `address` (host:port, port 0 = any). kUnavailable with the address when it is taken. Streams of sessions
  /// elsewhere run on the executors in turn.
  static Result<std::unique_ptr<Server>> start(const std::string& address, Services services,
                                               std::vector<boost::asio::any_io_executor> executors);
  ~Server();
  int port() const { return port_; }
  /// Serves this address too. Errors as start().
  Result<void> also_listen(const std::string& address);
  /// Ends every call and stream and waits for it; the executors and PeerLinks' must still run.
  void stop();

 private:
  class PeerService;
  class AdminService;
  Server();
  std::unique_ptr<PeerService> peer_;
  std::unique_ptr<AdminService> admin_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<Listener> listener_;
  int port_{0};
};

}  // namespace outlast::rpc
