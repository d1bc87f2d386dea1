#pragma once
#include <vector>

#include "base/loop.h"
#include "storage/replica.h"

namespace outlast::replication {

/// Writes the range logs of one store: storage::LogWriter in a node, a simulated disk in tests.
/// Everything asked for one replica happens in the order of asking. The caller keeps the replica alive until the
/// callback or task has run. Thread-safety: any thread.
class LogPort {
 public:
  virtual ~LogPort() = default;
  /// Appends and syncs; then `synced` with the last LSN, on any thread.
  virtual void submit(storage::Replica& replica, std::vector<storage::LogEntryPtr> entries, Callback<Lsn> synced) = 0;
  /// Runs a blocking log task (cut, read, record a configuration).
  virtual void run(storage::Replica& replica, Task task) = 0;
};

}  // namespace outlast::replication
