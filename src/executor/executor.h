#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <set>
#include <vector>

#include "base/loop.h"
#include "executor/channel.h"
#include "executor/connection_pool.h"
#include "executor/sql_pool.h"
#include "replication/leased_range.h"

namespace outlast::executor {

/// Limits of a node's executor.
struct Parameters {
  std::size_t batch_bytes{256 << 10};                ///< Size of one reply's rows, about.
  std::size_t returning_bytes_max{64 << 20};         ///< Rows of one write's RETURNING.
  std::size_t portals_max{256};                      ///< Open at once on one channel; then statements are refused.
  Duration snapshot_max{std::chrono::minutes(10)};   ///< A read snapshot is ended at this age,
  Duration snapshot_grace{std::chrono::seconds(5)};  ///< or at this one when the WAL has outgrown wal_bytes_max,
  std::uint64_t wal_bytes_max{64 << 20};             ///< because no checkpoint gets past it.
  Duration finish_reads{std::chrono::seconds(10)};  ///< Reads may go on so long on their snapshot after the lease left.
  ConnectionPool::Limits connections;
  bool planted_ungated_errors{false};  ///< A bug that tests plant: errors do not wait for what they tell about.
};

/// Counted since the start; readable from any thread.
struct Counters {
  std::atomic<std::uint64_t> reads{0}, writes{0}, commits{0}, rollbacks{0}, errors{0}, unknown{0}, lock_waits{0},
      gate_waits{0}, confirmed_reads{0}, orphans{0}, ended_idle{0}, ended_snapshots{0}, resolves{0};
};

/// What a server's metrics show of the executor.
struct ExecutorStats {
  std::size_t channels{0}, transactions{0}, write_transactions{0}, portals{0}, connections{0}, sql_queue{0};
};

/// What gateways elsewhere have open here.
struct ForeignWork {
  std::size_t transactions{0};
  std::size_t statements{0};  ///< Running, or with rows that wait to be fetched; outside of transactions.
};

class ChannelCore;
struct Services;

/// Runs statements and transactions on the ranges that this node leads (protocol A4.6, A5.1-3, A11). SQLite blocks, so
/// it runs on the SqlPool; whatever waits (for the writer lock, for durability, for the client) occupies no thread.
/// Thread-safety: all members from any thread. Lifetime: directory, pool and clock outlive the executor and its
/// channels; stop the SqlPool before any of them goes.
class Executor {
 public:
  Executor(const replication::LeaseDirectory& directory, SqlPool& pool, const Clock& clock, Parameters parameters,
           ConnectionSetup setup);
  ~Executor();

  /// `gateway`: the process of the session's gateway (replication::gateway_number), recorded with its writes (A5.6).
  std::unique_ptr<Channel> open_channel(std::uint64_t gateway);
  /// Ends what waited or idled for too long: deadlines of waiting statements, idle lock holders, old snapshots,
  /// everything on ranges that are over, idle connections. To be called about every 100 ms; costs nothing when nothing
  /// is open.
  void sweep();
  /// Work of gateways other than `own` that began before that instant: what a drain waits for (A7) …
  ForeignWork foreign_work(std::uint64_t own, Instant before = Instant::max()) const;
  /// … and in the end takes away: transactions are rolled back (40001), running statements interrupted. A commit that
  /// has its place in the log is past that and ends as it ends. Repeat it until foreign_work() is empty.
  void end_foreign_work(std::uint64_t own, Instant before);
  /// Where statements of whatever gateway run, or have rows that wait to be fetched, that began before that instant.
  /// They would be interrupted if the lease left now.
  std::set<RangeId> busy_ranges(Instant before) const;
  /// While true, reads go on beyond Parameters::finish_reads: a drain gives them its own time, and ends them.
  void let_reads_finish(bool yes);
  const Counters& counters() const;
  ExecutorStats stats() const;

 private:
  std::vector<std::shared_ptr<ChannelCore>> channels() const;

  std::shared_ptr<Services> services_;
};

}  // namespace outlast::executor
