#pragma once
#include "base/ids.h"
#include "proto/range.pb.h"

namespace outlast::replication {

/// The way to the other nodes: ordered per peer, may lose everything that was under way when a connection breaks.
/// The owner reports connections and messages to Replicas (peer_up, peer_down, on_message), in their order.
/// Thread-safety: called on the loop only; must not call back inline.
class Transport {
 public:
  virtual ~Transport() = default;
  /// Queues the message. Dropped silently when there is no connection: peer_down says so.
  virtual void send(NodeId to, proto::RangeMessage message) = 0;
  /// The same for a piece of a snapshot, from any thread. `aside`: it may go another way, so that what send() was given
  /// need not wait behind it; not in order with that. Not to be asked of a peer whose program may not know the way.
  virtual void send_bulk(NodeId to, proto::RangeMessage message, bool /*aside*/) { send(to, std::move(message)); }
};

}  // namespace outlast::replication
