#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"
#include "executor/value.h"

namespace outlast::compute {

/// A statement that runs in each of some ranges, and the table that takes its rows. All texts are SQLite's.
struct Fragment {
  std::string name;                  ///< Of the table; the final statement names it.
  std::string create;                ///< CREATE TABLE.
  std::vector<std::string> columns;  ///< Their names, in the order of the rows.
  std::string sql;
  std::vector<executor::Value> parameters;
  std::vector<RangeId> ranges;
};

/// Fragments, and the statement over all their rows.
struct Plan {
  std::string database;
  std::vector<Fragment> fragments;
  std::string final_sql;
  std::vector<executor::Value> parameters;  ///< Of the final statement.
  std::int64_t now_micros{0};               ///< now() of the final statement.
  std::uint64_t memory_limit{0};            ///< Bytes of all rows of fragments together.
};

}  // namespace outlast::compute
