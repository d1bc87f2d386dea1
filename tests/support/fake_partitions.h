#pragma once
#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "gateway/partition_ports.h"

namespace outlast::testing {

/// The records of a FakeCluster's partitioned tables. Thread-safety: any thread.
class FakePartitions {
 public:
  gateway::PartitionPorts ports();
  std::shared_ptr<const gateway::PartitionedTables> tables(const std::string& database) const;
  bool has(RangeId range) const;
  /// As it is now; kUndefinedTable.
  Result<meta::PartitionedRecord> record(const std::string& database, const std::string& table) const;
  /// From now on the changes of records fail so many times, after `after` more of them.
  void fail_changes(int after, int count) { spared_ = after, failing_ = count; }

 private:
  using Record = meta::PartitionedRecord;
  Result<Record> create(const std::string& database, const std::string& table, const std::string& scheme,
                        const std::vector<std::int64_t>& slots, const std::string& request);
  Result<Record> change(const std::string& database, const std::string& table,
                        const gateway::PartitionPorts::Change& change);
  void publish(const std::string& database);

  mutable std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, Record> records_;
  std::map<std::string, std::shared_ptr<const gateway::PartitionedTables>> known_;
  std::uint64_t next_range_{1000};
  std::atomic<int> spared_{0}, failing_{0};
};

}  // namespace outlast::testing
