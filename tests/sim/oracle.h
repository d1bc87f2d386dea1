#pragma once
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "meta/store.h"
#include "placement/range_config.h"
#include "replication/replicas.h"
#include "tests/sim/shadow.h"
#include "tests/sim/world.h"

namespace outlast::sim {

/// Knows everything and believes nobody: checks the invariants I1 to I3 and I5 to I8 of protocol A12 against what the
/// disks hold, after every event. The first violation is kept as a sentence.
class Oracle {
 public:
  using DiskOf = std::function<const DiskShadow*(NodeId)>;  ///< Null: no machine has that node's store any more.
  using Committed = std::map<Lsn, LogPosition>;
  Oracle(World& world, DiskOf disk_of) : world_(world), disk_of_(std::move(disk_of)) {}

  void on_append(RangeId range, const storage::LogEntry& entry);  ///< I1
  void on_record(const meta::KeyValue& kv);                       ///< I5, I2 and I7 of new members
  void on_record_gone(RangeId range) { records_.erase(range); }
  void on_lease(RangeId range, Epoch epoch, NodeId node, Incarnation incarnation);  ///< I3
  void on_apply(NodeId node, RangeId range, const LogPosition& upto);               ///< I6
  /// A client was told that this is durable.
  void on_acknowledged(RangeId range, Lsn lsn, Epoch epoch);
  /// A client was told that its write was not applied, nor ever will be (I8).
  void on_not_applied(RangeId range, std::uint64_t request);
  /// What a process believes now.
  void on_belief(NodeId node, const DiskShadow& disk, const replication::RangeStats& stats);
  /// I2 and I7 of all members of ranges whose committed end or record has changed.
  void check_members();
  void fail(const std::string& what);

  const placement::RangeConfig* record(RangeId range) const;
  const std::map<RangeId, placement::RangeConfig>& records() const { return records_; }
  Lsn committed_end(RangeId range) const;
  const std::string& violation() const { return violation_; }
  /// The machine's disk broke its word: what it holds counts no more for this range.
  std::uint64_t entries() const { return entries_.size(); }

 private:
  void note_committed(RangeId range, const LogPosition& at, const std::string& what);
  void check_member(RangeId range, const placement::ReplicaRef& ref, const char* when);
  bool is_committed(RangeId range, const LogPosition& at) const;
  void check_denied(RangeId range);

  World& world_;
  const DiskOf disk_of_;
  std::map<std::tuple<RangeId, Lsn, Epoch>, LogPosition> entries_;
  std::map<std::pair<RangeId, Epoch>, std::pair<NodeId, Incarnation>> leases_;
  std::map<RangeId, Committed> committed_;
  std::map<RangeId, placement::RangeConfig> records_;
  std::map<std::uint64_t, std::vector<LogPosition>> requests_;         ///< Where each was assigned: once, but for bugs.
  std::set<std::uint64_t> denied_;                                     ///< Said not to be applied.
  std::map<std::pair<RangeId, std::uint64_t>, LogPosition> suspects_;  ///< Denied, and in somebody's log.
  std::string violation_;
};

}  // namespace outlast::sim
