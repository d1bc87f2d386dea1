#pragma once
#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace outlast::meta {

struct CloseSqlite {
  void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
  void operator()(sqlite3_stmt* stmt) const { sqlite3_finalize(stmt); }
};
using SqlitePtr = std::unique_ptr<sqlite3, CloseSqlite>;

/// A prepared statement in use: reset when it goes, so that a cached statement holds no read transaction open.
/// Bound text must outlive it.
class Query {
 public:
  explicit Query(sqlite3_stmt* stmt) : stmt_(stmt) {}
  ~Query() {
    sqlite3_reset(stmt_);
    sqlite3_clear_bindings(stmt_);
  }
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  Query& bind(std::string_view bytes) {
    sqlite3_bind_blob64(stmt_, ++bound_, bytes.data() == nullptr ? "" : bytes.data(), bytes.size(), SQLITE_STATIC);
    return *this;
  }
  Query& bind(std::uint64_t number) {
    sqlite3_bind_int64(stmt_, ++bound_, static_cast<sqlite3_int64>(number));
    return *this;
  }
  Query& bind_null() {
    ++bound_;
    return *this;
  }
  /// SQLITE_ROW, SQLITE_DONE or an error.
  int step() { return sqlite3_step(stmt_); }
  std::string bytes(int column) const {
    const auto* data = static_cast<const char*>(sqlite3_column_blob(stmt_, column));
    const int size = sqlite3_column_bytes(stmt_, column);
    return data == nullptr ? std::string() : std::string(data, static_cast<std::size_t>(size));
  }
  std::uint64_t number(int column) const { return static_cast<std::uint64_t>(sqlite3_column_int64(stmt_, column)); }
  bool is_null(int column) const { return sqlite3_column_type(stmt_, column) == SQLITE_NULL; }

 private:
  sqlite3_stmt* stmt_;
  int bound_{0};
};

}  // namespace outlast::meta
