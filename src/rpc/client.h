#pragma once
#include <map>
#include <memory>
#include <mutex>

#include "base/loop.h"
#include "proto/peer.grpc.pb.h"
#include "rpc/hello.h"

namespace outlast::rpc {

/// A process of another node, and where it listens.
struct Addressee {
  NodeId node;
  Incarnation incarnation;
  std::string address;
};

/// Single calls to other nodes. Thread-safety: any thread; callbacks run on gRPC's threads: post to where you belong.
/// What the other node refuses comes back as its own error.
class Client {
 public:
  explicit Client(Hello self);
  void place(const Addressee& to, const proto::PlaceRequest& request, Duration timeout, Callback<void> done);
  void digest(const Addressee& to, const proto::DigestRequest& request, Duration timeout,
              Callback<proto::DigestReply> done);
  void replicas(const Addressee& to, const proto::ReplicasRequest& request, Duration timeout,
                Callback<proto::ReplicasReply> done);
  void drain(const Addressee& to, const proto::DrainRequest& request, Duration timeout,
             Callback<proto::DrainReply> done);
  void tasks(const Addressee& to, const proto::TasksRequest& request, Duration timeout,
             Callback<proto::TasksReply> done);
  void restart(const Addressee& to, const proto::RestartRequest& request, Duration timeout,
               Callback<proto::RestartReply> done);
  void statements(const Addressee& to, Duration timeout, Callback<proto::StatementsReply> done);
  void exiting(const Addressee& to, const proto::ExitingRequest& request, Duration timeout,
               Callback<proto::ExitingReply> done);

 private:
  template <class Request, class Reply>
  void call(const Addressee& to, const Request& request, Duration timeout,
            void (proto::Peer::StubInterface::async_interface::*method)(grpc::ClientContext*, const Request*, Reply*,
                                                                        std::function<void(grpc::Status)>),
            Callback<Reply> done);
  std::shared_ptr<proto::Peer::Stub> stub(const std::string& address);
  const Hello self_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<proto::Peer::Stub>> stubs_;
};

/// The CLI's calls to a node's Admin service; they block. kUnavailable names the address.
/// Thread-safety: any thread.
class AdminClient {
 public:
  explicit AdminClient(const std::string& address);
  Result<proto::NodeStatusReply> node_status(Duration timeout);
  /// With each node's readiness to be decommissioned.
  Result<proto::NodeStatusReply> decommission_status(Duration timeout);
  Result<proto::RangesReply> ranges(Duration timeout);
  Result<proto::RangeReply> range(RangeId range, Duration timeout);
  Result<proto::VerifyRangeReply> verify_range(RangeId range, Duration timeout);
  Result<proto::RecoverRangeReply> recover_range(const proto::RecoverRangeRequest& request, Duration timeout);
  Result<proto::MetaStatusReply> meta_status(Duration timeout);
  Result<proto::RebuildMetaReply> rebuild_meta(const proto::RebuildMetaRequest& request, Duration timeout);
  Result<proto::DrainReply> drain(const proto::DrainRequest& request, Duration timeout);
  /// kInvalidArgument and the like come back in the reply's code, with the pre-flight beside it.
  Result<proto::DecommissionReply> decommission(const proto::DecommissionRequest& request, Duration timeout);
  Result<proto::TasksReply> tasks(const proto::TasksRequest& request, Duration timeout);
  Result<proto::MaintenanceReply> maintenance(const proto::MaintenanceRequest& request, Duration timeout);
  Result<proto::SafeToStopReply> safe_to_stop(const proto::SafeToStopRequest& request, Duration timeout);
  Result<proto::RollingRestartReply> rolling_restart(const proto::RollingRestartRequest& request, Duration timeout);
  Result<proto::StopReply> stop(const proto::StopRequest& request, Duration timeout);

 private:
  std::string address_;
  std::unique_ptr<proto::Admin::Stub> stub_;
};

}  // namespace outlast::rpc
