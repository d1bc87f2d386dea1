#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/replica_store.h"

namespace outlast::sim {
using storage::LogPosition;

/// What one replica's log must hold, from what storage was told and said: the simulator's own memory of a disk, which
/// stays known while the machine is down.
struct Shadow {
  storage::ReplicaIdentity identity;
  LogPosition start;             ///< Before the first entry of `log`.
  std::vector<LogPosition> log;  ///< Written.
  std::size_t synced{0};         ///< Entries of `log` that survive everything.
  LogPosition applied;           ///< The database file may hold everything up to here.
  bool damaged{false};           ///< This disk broke its word (a planted fault): it owes nothing.

  LogPosition end() const { return log.empty() ? start : log.back(); }
  LogPosition synced_end() const { return synced == 0 ? start : log[synced - 1]; }
  std::optional<LogPosition> at(Lsn lsn) const {
    if (lsn == start.lsn) return start;
    if (lsn < start.lsn || lsn > end().lsn) return std::nullopt;
    return log[lsn.value - start.lsn.value - 1];
  }
};

/// One machine's disk as the simulator remembers it.
struct DiskShadow {
  std::map<RangeId, Shadow> ranges;
  std::map<RangeId, ReplicaId> wiped;  ///< Replicas whose files somebody deleted under a store that kept its identity.
  std::function<void(RangeId, const storage::LogEntry&)> on_append;
  /// The database file is about to hold everything up to this position.
  std::function<void(RangeId, const LogPosition&)> on_apply;
  /// A promise of storage itself was broken.
  std::function<void(const std::string&)> on_broken;
};

/// The real store, watched.
std::unique_ptr<storage::ReplicaStore> watch_store(std::unique_ptr<storage::ReplicaStore> real, DiskShadow& shadow);

}  // namespace outlast::sim
