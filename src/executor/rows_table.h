#pragma once
#include <sqlite3.h>

#include <cstddef>
#include <string_view>

namespace outlast::executor {

/// A table-valued function: `SELECT c1, c2 FROM outlast_rows(?1, 2)` gives the rows of a batch as RowWriter wrote them,
/// here of two columns. One INSERT … SELECT of it costs a fraction of as many INSERTs. An older leaseholder does not
/// have it and says kUndefinedTable.
inline constexpr std::string_view kRowsTable = "outlast_rows";
inline constexpr std::size_t kRowsTableColumns = 100;

/// Gives the connection the function. SQLite's code.
int add_rows_table(sqlite3* connection);

}  // namespace outlast::executor
