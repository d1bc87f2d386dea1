#pragma once
#include <memory>

#include "executor/connection_pool.h"
#include "meta/settings.h"
#include "replication/parameters.h"
#include "replication/transport.h"
#include "rpc/peer_links.h"
#include "storage/replica_store.h"

namespace outlast::server {

// Adapters between rooms that do not know each other. Each outlives nothing but what it is given.

std::unique_ptr<replication::Transport> make_transport(rpc::PeerLinks& links);
/// Asks settings and clock again and again: they outlive the store.
storage::StoreOptions storage_options(const meta::Settings& settings, const Clock& clock);
replication::Parameters replication_parameters(const meta::Settings& settings);
/// SQL functions for every connection to a range. `clock` outlives the connections.
executor::ConnectionSetup connection_setup(const Clock& clock);

}  // namespace outlast::server
