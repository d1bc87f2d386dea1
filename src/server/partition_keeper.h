#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/loop.h"
#include "meta/partitioned.h"

namespace outlast::server {

/// The leader frontend's duty towards partitioned tables: it finishes what the gateway that began it does not finish
/// any more (creations, drops, changes of the definition), takes away what a dropped database left, and drops RANGE
/// partitions whose rows are all older than the table's TTL. It keeps no truth: everything shows in the tables'
/// records, so that the next holder of the office goes on from there. Costs a look at the mirror a second.
/// Thread-safety: loop only. Lifetime: `loop` and what the ports use outlive it.
class PartitionKeeper {
 public:
  using Record = meta::PartitionedRecord;
  struct Ports {
    std::function<bool()> in_office;
    std::function<std::vector<meta::PartitionedMirror::EntryPtr>()> records;
    std::function<bool(const Record&)> has_database;
    std::function<bool(liveness::Peer)> is_gone;  ///< That process will never do anything again.
    std::function<void(Record, Callback<void>)> finish;
    /// All of it, whatever its state: its database is gone.
    std::function<void(Record, Callback<void>)> discard;
    std::function<void(Record, meta::PartitionRecord, Callback<void>)> drop_partition;
    std::function<Duration()> ttl_interval;  ///< Between two looks for rows that are too old.
  };
  PartitionKeeper(Loop& loop, Ports ports);
  PartitionKeeper(const PartitionKeeper&) = delete;
  PartitionKeeper& operator=(const PartitionKeeper&) = delete;

  void start() { tick(); }

 private:
  struct Seen {
    std::uint64_t version{0};
    Instant since{};
  };
  void tick();
  void look(const meta::PartitionedMirror::EntryPtr& entry);
  bool is_abandoned(const Record& record, Duration unchanged) const;
  void drop_expired();
  void drop_next(std::shared_ptr<std::vector<std::pair<Record, meta::PartitionRecord>>> expired);
  Callback<void> ended(std::string key, std::string what);

  Loop& loop_;
  const Ports ports_;
  std::map<std::string, Seen> seen_;  ///< By key: since when a record has been as it is.
  std::set<std::string> busy_;        ///< Keys of records that are being finished.
  bool dropping_{false};
  std::optional<Instant> ttl_looked_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace outlast::server
