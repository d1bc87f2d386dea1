#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/ids.h"

namespace outlast::gateway {

/// One range that holds some rows of a table, under the table's own name.
struct PartitionRow {
  std::int64_t slot{0};  ///< fragments::Slot.
  RangeId range;
  friend bool operator==(const PartitionRow&, const PartitionRow&) = default;
};

/// A table of a database whose rows lie in several ranges. The database's own range holds an empty table of the same
/// definition, so that catalogs and types are found there.
struct PartitionedTable {
  std::string name;
  std::string scheme;  ///< fragments::encode() text: which row lies where.
  std::vector<PartitionRow> partitions;
  std::uint64_t version{0};  ///< Changes with the table's definition and with its partitions.
};

/// Those of one database that are ready for use, by name.
using PartitionedTables = std::map<std::string, PartitionedTable, std::less<>>;

/// A CREATE TABLE … PARTITION BY, ready for SQLite.
struct NewPartitionedTable {
  std::string name;
  std::string scheme;               ///< fragments::encode() text.
  std::vector<std::int64_t> slots;  ///< Partitions that it has from the beginning.
  std::vector<std::string> sql;     ///< What makes the table, in its home and in each partition.
};
/// ALTER TABLE, CREATE INDEX, TRUNCATE …, ready for SQLite.
struct TableChange {
  std::string tag;
  std::vector<std::string> sql;
};

}  // namespace outlast::gateway
