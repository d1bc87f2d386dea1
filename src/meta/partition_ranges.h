#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "meta/databases.h"
#include "meta/events.h"
#include "meta/partitioned.h"

namespace outlast::meta {

/// A new table, and who creates it.
struct NewPartitioned {
  DatabaseId database;
  std::string database_name;
  std::string table;
  std::string scheme;               ///< fragments::encode() text.
  std::vector<std::int64_t> slots;  ///< Its partitions from the beginning.
  std::string request;              ///< Names this CREATE TABLE for ever.
  liveness::Peer owner;
  std::int64_t wall_micros{0};
};

/// Who may lead a new range first, in this order of turns; see Creator. Each is compared as meta::create_database does:
/// not fenced, and its node not decommissioned; those that are not so any more are left out.
using Creators = std::vector<Creator>;

// All call back on the store's loop. Errors: the store's and those named; each may be repeated after any error.

/// The record in state kCreating, then its ranges in as many transactions as that takes, each range led by the next of
/// `creators`. What a creation that failed in the middle leaves is dropped like any table.
/// kDuplicateTable, kUndefinedDatabase, kObjectInUse (one of this name is being dropped), kFenced (no creator left).
void create_partitioned(Store& store, NewPartitioned table, Creators creators, Callback<PartitionedRecord> done);
/// A range for `slot`; the record with it, as somebody else may have added it before. Not ready: it lacks the table.
/// kUndefinedTable, kObjectInUse, kFenced, kFeatureLimit (kPartitionsOfTableMax).
void add_partition(Store& store, DatabaseId database, const std::string& table, std::int64_t slot, Creators creators,
                   Callback<PartitionedRecord> done);

using PartitionedChange = std::function<Result<PartitionedRecord>(const PartitionedRecord& now)>;
/// One transition (meta/partitioned.h); with an event when it changed anything. kUndefinedTable when there is no such
/// record.
void change_partitioned(Store& store, DatabaseId database, const std::string& table, PartitionedChange change,
                        std::optional<ClusterEvent> event, Callback<PartitionedRecord> done);

/// Takes the partition of `slot` with all its rows out of a table that is ready and not being changed. Success when
/// there is none of that slot.
void drop_partition(Store& store, DatabaseId database, const std::string& table, PartitionRecord partition,
                    ClusterEvent event, Callback<void> done);
/// All ranges of a table whose state is kDropping, whatever became of its database. Success when there is no record.
void drop_partition_ranges(Store& store, DatabaseId database, const std::string& table, Callback<void> done);
/// The record of a table that has no ranges any more.
void forget_partitioned(Store& store, DatabaseId database, const std::string& table, ClusterEvent event,
                        Callback<void> done);

}  // namespace outlast::meta
