#pragma once
#include <map>
#include <memory>
#include <mutex>

#include "base/loop.h"
#include "proto/peer.grpc.pb.h"
#include "rpc/hello.h"

namespace outlast::rpc {

/// Single calls to other nodes. Thread-safety: any thread; callbacks run on gRPC's threads: post to where you belong.
class Client {
 public:
  explicit Client(Hello self);
  void place(NodeId to, Incarnation incarnation, const std::string& address, const proto::PlaceRequest& request,
             Duration timeout, Callback<void> done);

 private:
  std::shared_ptr<proto::Peer::Stub> stub(const std::string& address);
  const Hello self_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<proto::Peer::Stub>> stubs_;
};

/// The CLI's calls to a node's Admin service; they block. kUnavailable names the address.
class AdminClient {
 public:
  explicit AdminClient(const std::string& address);
  Result<proto::NodeStatusReply> node_status(Duration timeout);
  Result<proto::RangesReply> ranges(Duration timeout);
  Result<void> stop(Duration timeout);

 private:
  std::string address_;
  std::unique_ptr<proto::Admin::Stub> stub_;
};

}  // namespace outlast::rpc
