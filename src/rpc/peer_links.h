#pragma once
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "base/loop.h"
#include "proto/peer.grpc.pb.h"
#include "rpc/hello.h"
#include "rpc/peer_address.h"

namespace outlast::rpc {

/// The streams that carry the messages of all ranges between this node and each peer. What a leaseholder says goes over
/// the stream that this node opened, what a replica answers over the stream that the leaseholder opened: when a stream
/// breaks, everything about the ranges led over it is lost together, and `up` tells when it starts again from nothing.
/// Thread-safety: send() and accept() from any thread, the rest on the loop; events come on the loop, in order per
/// peer.
class PeerLinks {
 public:
  struct Events {
    std::function<void(NodeId, Incarnation)> up;  ///< The stream that this node opened to the peer is ready.
    std::function<void(NodeId)> down;             ///< It broke; messages on their way are lost.
    std::function<void(NodeId, Incarnation, proto::RangeMessage&&)> message;
  };
  PeerLinks(Loop& loop, Hello self, Events events);
  ~PeerLinks();
  PeerLinks(const PeerLinks&) = delete;
  PeerLinks& operator=(const PeerLinks&) = delete;

  /// The peers to be connected to, this node left out. Links to others end.
  void set_peers(std::map<NodeId, PeerAddress> peers);
  /// Dropped silently when there is no stream: replication asks again.
  void send(NodeId to, proto::RangeMessage message);
  /// Server side of Peer.Replicate.
  grpc::ServerBidiReactor<proto::RangeMessages, proto::RangeMessages>* accept(grpc::CallbackServerContext* context);
  /// Ends all streams. On the loop; no event comes afterwards.
  void stop();

 private:
  class OutStream;
  class InStream;
  struct Link;
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace outlast::rpc
