#pragma once
#include "replication/held_replica.h"

namespace outlast::replication {

/// Fills the replica's RequestWindow from its log with what memory lacks: after a restart, or when memory was short.
/// Once at a time; who asks meanwhile waits for the one that runs. Loop only.
void reread_requests(std::shared_ptr<HeldReplica> held, Callback<void> done);

}  // namespace outlast::replication
