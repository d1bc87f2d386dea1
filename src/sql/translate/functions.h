#pragma once
#include <cstdint>
#include <functional>

struct sqlite3;

namespace outlast::sql {

/// Time for now(): microseconds since 1970 UTC.
struct SqlClock {
  std::function<std::int64_t()> transaction;  ///< When the connection's transaction began; the same all through it.
  std::function<std::int64_t()> wall;         ///< clock_timestamp().
};

/// Makes `db` ready for what translate() writes: registers the pg_… functions, and turns off what would give another
/// answer than PostgreSQL's (double-quoted strings), turns foreign keys on. Call it once for each connection, before
/// any statement. The functions report errors by executor::function_error() texts, which map_sqlite_error() reads.
/// Lifetime: `clock` is copied and kept as long as `db`. Thread-safety: that of `db`.
/// Returns SQLite's result code.
int install_functions(sqlite3* db, SqlClock clock);

}  // namespace outlast::sql
