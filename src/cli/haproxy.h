#pragma once
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "proto/peer.pb.h"

namespace outlast::cli {

/// How a balancer is to look at the nodes. The defaults are HAProxy's own, as people know them.
struct HaproxyOptions {
  std::string bind{":26257"};               ///< As HAProxy writes addresses; "fd@7" is a socket that it inherits.
  Duration inter{std::chrono::seconds(2)};  ///< Between two health checks of one node.
  std::int64_t fall{3};                     ///< So many failed ones in a row take a node out …
  std::int64_t rise{2};                     ///< … and so many good ones put it back.
};

/// The least server.shutdown.drain_wait with which no client meets a node that refuses it: the balancer has taken the
/// node out by then. One check more than `fall`, because the first may just have passed. Pure.
Duration least_drain_wait(const HaproxyOptions& options);

/// A configuration for HAProxy 2.4 and later in front of all frontends that are not decommissioned. Pure.
/// Errors: kInvalidArgument when no node is left, or one has no address that a balancer could use.
Result<std::string> haproxy_config(const proto::NodeStatusReply& nodes, const HaproxyOptions& options);

}  // namespace outlast::cli
