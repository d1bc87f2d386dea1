#pragma once
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "base/loop.h"
#include "compute/session.h"
#include "gateway/cluster.h"
#include "lifecycle/gate.h"
#include "sql/partitioned/tables.h"
#include "sql/session/cancel_registry.h"
#include "sql/session/metrics.h"

namespace outlast::sql {

/// Limits of the SQL port. Times of 0 mean none.
struct SessionOptions {
  std::size_t message_bytes_max{256u << 20};  ///< Longest message of a client; memory is taken as it arrives.
  std::size_t output_bytes{64u << 10};        ///< Output is sent when this much is waiting, at the latest.
  std::size_t copy_batch_bytes{1u << 20};     ///< COPY FROM hands rows on in portions of about this size …
  std::size_t copy_batch_rows{1000};          ///< … or of this many rows.
  Duration startup_deadline{std::chrono::seconds(60)};
  Duration write_deadline{std::chrono::seconds(60)};      ///< A client that reads nothing for so long is disconnected.
  Duration client_check{std::chrono::milliseconds(250)};  ///< A statement that runs longer watches for its client.
  std::int64_t sessions_max{5000};                        ///< More are refused with 53300.
  std::string default_database{"defaultdb"};
  /// Asked with a cancel request for a session of this node that is not here: another worker may have it, until it has
  /// moved or ended. True when it was handed on. Any thread; may be empty.
  std::function<bool(std::int32_t pid, std::string_view key)> forward_cancel{};
  /// Runs queries over several ranges; null: one of the SQL port's own.
  std::shared_ptr<compute::Engine> engine{};
};

/// Runs queries over several ranges on this node, or at `places`. Lifetime: cluster and clock outlive it.
std::shared_ptr<compute::Engine> make_engine(
    gateway::Cluster& cluster, const Clock& clock,
    std::function<std::vector<std::unique_ptr<executor::Channel>>()> places = {});

/// What the sessions of one node share. Lifetime: outlives them.
struct SessionHost {
  gateway::Cluster& cluster;
  const Clock& clock;
  SessionOptions options;
  SqlMetrics metrics;
  CancelRegistry cancels;
  lifecycle::Gate gate;  ///< Of connections and statements; whoever runs the node closes it.
  ColumnCache columns;
  std::shared_ptr<compute::Engine> engine;
  SessionHost(gateway::Cluster& c, const Clock& k, SessionOptions o)
      : cluster(c),
        clock(k),
        options(std::move(o)),
        cancels(c.node()),
        engine(options.engine ? options.engine : make_engine(c, k)) {}
  std::unique_ptr<compute::Session> open_session() {
    return std::make_unique<compute::Session>(cluster.open_session(), *engine);
  }
};

}  // namespace outlast::sql
