#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "fragments/scheme.h"

namespace outlast::fragments {

struct Column {
  std::string name;
  std::string declared;  ///< As in SQLite's schema, collation included: "INT", "CHAR(3) COLLATE RTRIM", "DATE TEXT".
  friend bool operator==(const Column&, const Column&) = default;
};

/// One range that holds a part of a table, under the table's own name.
struct Partition {
  Slot slot{0};
  RangeId range;
  friend bool operator==(const Partition&, const Partition&) = default;
};

/// What the planner knows of a table. An ordinary one has no scheme and one partition: its database's range.
struct Table {
  std::string name;
  std::vector<Column> columns;  ///< All of them, in the table's order.
  std::optional<Scheme> scheme;
  std::vector<Partition> partitions;

  const Column* column(std::string_view wanted) const {
    for (const Column& each : columns)
      if (each.name == wanted) return &each;
    return nullptr;
  }
};

/// nullptr: no such table. What it returns must live as long as the plan is being made.
using TableLookup = std::function<const Table*(std::string_view name)>;

}  // namespace outlast::fragments
