#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <mutex>

#include "executor/executor.h"

namespace outlast::executor {

class ChannelCore;

/// What all channels of one executor share. Lives until the last of them is gone.
struct Services {
  Services(const replication::LeaseDirectory& d, SqlPool& p, const Clock& c, Parameters limits, ConnectionSetup setup)
      : directory(d), sql(p), clock(c), parameters(limits), connections(c, limits.connections, std::move(setup)) {}
  const replication::LeaseDirectory& directory;
  SqlPool& sql;
  const Clock& clock;
  const Parameters parameters;
  std::atomic<bool> reads_finish{false};  ///< Executor::let_reads_finish.
  ConnectionPool connections;
  Counters counters;

  /// Where parts of queries over several ranges run: threads of their own with lower priority, so that long queries
  /// take neither the threads nor, where processors are short, the time of everybody's statements. They begin with the
  /// first such part.
  void post_long(Task task);
  /// Runs what is queued and joins them; what is posted later is dropped.
  void stop_long();

  std::mutex mutex;  ///< Of `channels`; taken before a channel's own, never after.
  std::map<std::uint64_t, std::weak_ptr<ChannelCore>> channels;  ///< By number, in the order of opening.
  std::uint64_t next_channel{1};

 private:
  std::once_flag long_once_;
  std::unique_ptr<SqlPool> long_;
};

}  // namespace outlast::executor
