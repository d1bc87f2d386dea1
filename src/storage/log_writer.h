#pragma once
#include <memory>
#include <vector>

#include "base/loop.h"
#include "storage/replica.h"

namespace outlast::storage {

/// Writes the logs of all ranges of a store: whatever is queued for a replica when its turn comes is appended and
/// synced once (group commit). Order per replica is the order of the calls, one at a time; replicas do not wait for
/// each other. Thread-safety: any thread. Callbacks and tasks run on the writer's threads, or inline in a simulator:
/// post them on. Lifetime: a replica stays alive until everything submitted for it has called back.
class LogWriter {
 public:
  virtual ~LogWriter() = default;  ///< Finishes what is queued.
  /// Appends and syncs; calls back with the last LSN once it is on disk, or with why it is not. An empty list only
  /// syncs, and answers with the end of the log.
  virtual void submit(Replica& replica, std::vector<LogEntryPtr> entries, Callback<Lsn> synced) = 0;
  /// Runs a blocking task on the replica's log after all that was submitted before, which is synced by then.
  virtual void run(Replica& replica, Task task) = 0;
};

/// Threads of its own: as many replicas are synced at once, which the kernel merges into fewer flushes of the disk.
std::unique_ptr<LogWriter> make_log_writer(std::size_t threads = 4);

}  // namespace outlast::storage
