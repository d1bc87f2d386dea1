#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <map>
#include <memory>
#include <mutex>

#include "base/loop.h"
#include "proto/range.pb.h"
#include "rpc/hello.h"
#include "rpc/peer_address.h"
#include "rpc/wire.h"

namespace outlast::rpc {

/// The streams that carry the messages of all ranges between this node and each peer. What a leaseholder says goes over
/// the stream that this node opened, what a replica answers over the stream that the leaseholder opened: when a stream
/// breaks, everything about the ranges led over it is lost together, and `up` tells when it starts again from nothing.
/// Snapshots have a connection of their own beside it, opened for the first of them: commits do not wait behind their
/// bytes. When it breaks, the stream goes with it. Thread-safety: send(), send_bulk() and accept() from any thread, the
/// rest on the loop; events come on the loop, in order per peer.
class PeerLinks {
 public:
  struct Events {
    std::function<void(NodeId, Incarnation)> up;  ///< The stream that this node opened to the peer is ready.
    std::function<void(NodeId)> down;             ///< It broke; messages on their way are lost.
    std::function<void(NodeId, Incarnation, proto::RangeMessage&&)> message;
  };
  /// `executor`: of the sockets; best the loop's own thread, which spares every message a change of threads. `bulk`: of
  /// those for snapshots; best a thread of its own.
  PeerLinks(Loop& loop, boost::asio::any_io_executor executor, boost::asio::any_io_executor bulk, Hello self,
            Events events);
  ~PeerLinks();
  PeerLinks(const PeerLinks&) = delete;
  PeerLinks& operator=(const PeerLinks&) = delete;

  /// The peers to be connected to, this node left out. Links to others end.
  void set_peers(std::map<NodeId, PeerAddress> peers);
  /// Dropped silently when there is no stream: replication asks again.
  void send(NodeId to, proto::RangeMessage message);
  /// See replication::Transport::send_bulk().
  void send_bulk(NodeId to, proto::RangeMessage message, bool aside);
  /// A stream that `peer` opened, after the handshake.
  std::shared_ptr<Connection> accept(boost::asio::ip::tcp::socket socket, const Hello& peer, bool bulk);
  /// Ends all streams. On the loop; no event comes afterwards.
  void stop();

 private:
  class Attempt;
  struct Link;
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace outlast::rpc
