#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace outlast::placement {

/// One copy of a range. In-sync status survives a restart of the store, never a wiped or re-created one (A1).
struct ReplicaRef {
  NodeId node;
  std::string store_uuid;
  ReplicaId replica;
  friend bool operator==(const ReplicaRef&, const ReplicaRef&) = default;
};

/// Who may serve a range: an incarnation, never a node.
struct Leaseholder {
  NodeId node;
  Incarnation incarnation;
  friend bool operator==(const Leaseholder&, const Leaseholder&) = default;
};

/// The record of a range, /r/<id> in the metadata store; changed only by compare-and-swap through the functions below.
struct RangeConfig {
  RangeId range;
  DatabaseId database;
  Epoch epoch;                             ///< +1 on every take-over, transfer and fall-back.
  ConfigVersion cfg;                       ///< +1 on every change of the record.
  std::optional<Leaseholder> leaseholder;  ///< None: released by itself; any member of S may take over.
  std::vector<ReplicaRef> insync;          ///< S. Only its members may lead.
  std::vector<ReplicaRef> learners;
  std::vector<ReplicaRef> removed;  ///< Dropped from the range, data not yet known to be deleted.
  ReplicaId next_replica{1};
  int rf{1};
  int min_insync{1};  ///< rf / 2 + 1; S never shrinks below it.
  bool clean{true};   ///< False after an unsafe recovery.
  friend bool operator==(const RangeConfig&, const RangeConfig&) = default;

  const ReplicaRef* find_insync(NodeId node) const;
  const ReplicaRef* find_learner(NodeId node) const;
  const ReplicaRef* find(NodeId node) const;  ///< In-sync or learner.
};

constexpr int min_insync_of(int rf) {
  return rf / 2 + 1;
}

// The transitions of protocol A3: each returns the next record, or kInvalidState with the precondition that failed.
// Pure; the caller adds the compares (mod_revision of the record, own fence absent, ...).

/// A new range with one replica, which leads it. epoch 1, cfg 1.
RangeConfig create_range(RangeId range, DatabaseId database, NodeId node, const std::string& store_uuid,
                         Incarnation inc);
/// S \ {node}, the replica becomes a learner. Refused when S would fall below min_insync or node leads.
Result<RangeConfig> remove_backup(const RangeConfig& now, NodeId node);
/// One replica per node; refused when the node has one already.
Result<RangeConfig> add_learner(const RangeConfig& now, NodeId node, const std::string& store_uuid);
/// S + learner. `rf` is raised to |S| in the same change when `rf_wanted` is higher than the record's.
Result<RangeConfig> promote_learner(const RangeConfig& now, NodeId node, const std::string& store_uuid, int rf_wanted);
/// The learner leaves the range: into `removed`.
Result<RangeConfig> remove_learner(const RangeConfig& now, NodeId node);
/// `successor` in S leads with a new epoch; the old leaseholder leaves S where min_insync allows (then a learner).
Result<RangeConfig> take_over(const RangeConfig& now, NodeId successor, Incarnation incarnation);
/// Planned move of the lease within S.
Result<RangeConfig> transfer_lease(const RangeConfig& now, NodeId target, Incarnation incarnation);
/// New epoch, same leaseholder (A5.4).
Result<RangeConfig> fall_back(const RangeConfig& now);
/// The leaseholder gives the lease up: leaseholder none, same epoch.
Result<RangeConfig> release_lease(const RangeConfig& now);
/// The data of this removed replica is gone.
Result<RangeConfig> forget_removed(const RangeConfig& now, ReplicaId replica);

/// JSON text for the metadata store and the replicas' own logs; unknown fields of a newer version are ignored.
std::string encode(const RangeConfig& config);
Result<RangeConfig> decode_range_config(std::string_view text);

}  // namespace outlast::placement
