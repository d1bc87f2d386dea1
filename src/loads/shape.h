#pragma once
#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/session.h"

namespace outlast::loads {

/// What one range's table demands of its rows.
struct Shape {
  struct Column {
    std::string name, declared;  ///< As in SQLite's schema.
    bool generated{false};
  };
  struct KeyColumn {
    std::string name, collation;  ///< No collation: the row number.
  };
  struct Key {
    std::vector<KeyColumn> columns;
    bool by_index{false};  ///< Made by CREATE UNIQUE INDEX: create_sql does not have it.
  };
  std::string table;
  std::string create_sql;  ///< As stored in the schema.
  std::vector<Column> columns;
  std::vector<Key> keys;              ///< Every unique key.
  std::vector<std::string> triggers;  ///< Texts of those that check each inserted row.
  bool has_stage{false};              ///< The hidden table beside it is there,
  bool knows_loads{false};            ///< and the range's list of loads.
  std::string not_staged;             ///< Why its rows cannot wait beside it, as a sentence; empty: they can.
};
/// kUndefinedTable when the range has no such table. nullopt: the database's own range.
boost::asio::awaitable<Result<std::vector<Shape::Column>>> read_columns(gateway::Session& session, std::string table,
                                                                        std::optional<RangeId> range);
boost::asio::awaitable<Result<Shape>> read_shape(gateway::Session& session, std::string table,
                                                 std::optional<RangeId> range);

inline constexpr std::string_view kStagePrefix = "outlast_stage_";
std::string stage_of(std::string_view table);

/// The hidden table beside `shape.table` where rows of loads wait, and what guards it; pure. It has the definition of
/// the table, so that what fits it fits the table: types, NOT NULL, CHECK, defaults, unique keys. A row whose key is in
/// the table is refused (or left out, when its load filters), a row whose key another load has staged is refused for
/// now, and so is, in the table itself, any row whose key is staged: a key is reserved until its load has ended.
Result<std::vector<std::string>> staging_sql(const Shape& shape);
/// Takes the triggers off the table.
std::vector<std::string> unguarding_sql(std::string_view table);

}  // namespace outlast::loads
