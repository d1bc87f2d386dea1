#pragma once
#include <boost/asio/awaitable.hpp>
#include <memory>

#include "proto/exec.pb.h"

namespace outlast::executor {

/// One gateway session's conversation with one leaseholder: requests in turn, each with one reply; long results come
/// in batches that the session asks for (pull, so that a slow client slows the leaseholder down). Holds at most one
/// transaction and any number of open portals.
///
/// Two implementations: LocalChannel (executor/local_channel.h) on the leaseholder, and rpc's RemoteChannel, whose
/// other end drives a LocalChannel. Thread-safety: call() one at a time; interrupt() from any thread. Lifetime:
/// destroying the channel rolls an open transaction back (remote: after txn.orphan_timeout at most).
class Channel {
 public:
  virtual ~Channel() = default;
  /// Never throws. A broken stream comes back as error kUnavailable; `nothing_applied` is then true only when the
  /// request was certainly not started.
  virtual boost::asio::awaitable<proto::ExecReply> call(proto::ExecRequest request) = 0;
  /// Ends the running request with kCancelled; nothing happens when none runs.
  virtual void interrupt() = 0;
  /// False once the other end is gone: the transaction and portals with it.
  virtual bool alive() const = 0;
};

}  // namespace outlast::executor
