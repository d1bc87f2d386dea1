#pragma once
#include <functional>

#include "base/loop.h"
#include "meta/store.h"
#include "storage/store_dir.h"

namespace outlast::server {

/// Who this worker is, once it belongs to a cluster.
struct Membership {
  std::string cluster;
  std::string store_uuid;
  NodeId node;
  Incarnation incarnation;
};

/// Waits until the cluster is initialised (asking again every 100 ms; `give_up` ends it with kShuttingDown), gives a
/// new store its identity, and draws this worker's incarnation. A standby worker owns nothing and writes nothing to the
/// store: it records the incarnation when it owns it. Blocks; not on the loop. kWrongCluster for a store of another
/// cluster. kInvalidState for a decommissioned node, whose store is retired with it.
Result<Membership> join_cluster(Loop& loop, meta::Store& meta, storage::StoreDir& store, bool standby,
                                const std::function<bool()>& give_up);

/// A random UUID, version 4.
std::string new_uuid();

}  // namespace outlast::server
