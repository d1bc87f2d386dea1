#pragma once
#include <map>

#include "replication/transport.h"
#include "rpc/peer_address.h"
#include "tests/sim/network.h"

namespace outlast::sim {

class Cluster;

/// What rpc::PeerLinks does, over the simulated network: one stream for each direction of leading. A leaseholder speaks
/// over the stream that its process opened, and hears the answers on it.
class SimLinks final : public replication::Transport {
 public:
  struct Events {  ///< As rpc::PeerLinks::Events.
    std::function<void(NodeId, Incarnation)> up;
    std::function<void(NodeId)> down;
    std::function<void(NodeId, Incarnation, proto::RangeMessage&&)> message;
  };
  SimLinks(Cluster& cluster, int machine, ProcessLoop& loop, NodeId self, Incarnation incarnation, Events events)
      : cluster_(cluster),
        machine_(machine),
        loop_(loop),
        self_(self),
        incarnation_(incarnation),
        events_(std::move(events)) {}

  void set_peers(const std::map<NodeId, rpc::PeerAddress>& peers);
  void send(NodeId to, proto::RangeMessage message) override;
  /// Another process opened `stream` to this one.
  void accept(const StreamPtr& stream, NodeId from, Incarnation incarnation);

 private:
  struct Link {
    rpc::PeerAddress address;
    StreamPtr stream;
    bool up{false};
    Loop::TimerId retry{0};
    Duration backoff{std::chrono::milliseconds(20)};
  };
  void connect(NodeId node);
  void opened(NodeId node, const StreamPtr& stream);
  void ended(NodeId node, const StreamPtr& stream);
  void hear(NodeId from, Incarnation incarnation, proto::RangeMessage message);

  Cluster& cluster_;
  const int machine_;
  ProcessLoop& loop_;
  const NodeId self_;
  const Incarnation incarnation_;
  const Events events_;
  std::map<NodeId, Link> links_;
  std::map<NodeId, std::pair<StreamPtr, Incarnation>> in_;
};

}  // namespace outlast::sim
