#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/loop.h"
#include "gateway/partitions.h"
#include "meta/partitioned.h"

namespace outlast::gateway {

/// The records of partitioned tables (meta/partition_ranges.h), by the database's name. All from any thread; callbacks
/// may run on any.
struct PartitionPorts {
  using Record = meta::PartitionedRecord;
  using Change = std::function<Result<Record>(const Record&)>;
  /// What is known here of those that are ready; may lag. nullptr: the database has none.
  std::function<std::shared_ptr<const PartitionedTables>(const std::string& database)> tables;
  std::function<void(std::string database, std::string table, std::string scheme, std::vector<std::int64_t> slots,
                     std::string request, Callback<Record>)>
      create;
  std::function<void(std::string database, std::string table, std::int64_t slot, Callback<Record>)> add;
  /// `event`: the word for what this did, when it changed anything; empty: no event.
  std::function<void(std::string database, std::string table, Change, std::string event, Callback<Record>)> change;
  std::function<void(std::string database, std::string table, Callback<void>)> drop_ranges;
  std::function<void(std::string database, std::string table, Callback<void>)> forget;
  std::function<bool(RangeId)> has_range;  ///< As known here; empty: all that are asked for exist.
  std::function<std::int64_t()> wall_micros;
  liveness::Peer self;
};

}  // namespace outlast::gateway
