#pragma once
#include <functional>
#include <optional>

#include "base/ids.h"
#include "http/server.h"
#include "replication/lease_mover.h"

namespace outlast::server {

/// Moves all leases of this node, to one node or to whom placement would choose, so many at once. Any thread.
using TransferLeases = std::function<void(std::optional<NodeId> to, std::size_t at_once,
                                          Callback<replication::LeaseTransferProgress> done)>;

/// POST /api/leases/transfer[?to=NODE][&at_once=N]: answers when no lease is left to move, with what moved and what did
/// not and why.
void add_lease_routes(http::Server& server, TransferLeases transfer);

}  // namespace outlast::server
