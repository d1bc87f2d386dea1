#pragma once
#include <sqlite3.h>

#include <string>
#include <string_view>

#include "base/error.h"
#include "executor/sqlite_error.h"

/// Small helpers for the bodies of SQL functions.
namespace outlast::sql::kit {

inline bool null(sqlite3_value* v) {
  return sqlite3_value_type(v) == SQLITE_NULL;
}
inline bool any_null(int n, sqlite3_value** v) {
  for (int i = 0; i < n; ++i)
    if (null(v[i])) return true;
  return false;
}
inline std::string_view text(sqlite3_value* v) {
  const auto* p = reinterpret_cast<const char*>(sqlite3_value_text(v));
  return p == nullptr ? std::string_view() : std::string_view(p, static_cast<std::size_t>(sqlite3_value_bytes(v)));
}
inline void result(sqlite3_context* c, std::string_view s) {
  sqlite3_result_text64(c, s.data(), s.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
}
inline void fail(sqlite3_context* c, Errc code, std::string_view message) {
  const std::string full = executor::function_error(code, message);
  sqlite3_result_error(c, full.c_str(), static_cast<int>(full.size()));
}

/// A number as SQLite or a client's untyped parameter holds it.
struct Number {
  bool real{false};
  std::int64_t i{0};
  double d{0};
  double as_double() const { return real ? d : static_cast<double>(i); }
};
/// Fails `c` (22P02) when `v` is not a number; NULL must have been dealt with.
bool number(sqlite3_context* c, sqlite3_value* v, Number& out);
/// The same, an integer; a real counts when it is whole.
bool integer(sqlite3_context* c, sqlite3_value* v, std::int64_t& out);

using Function = void (*)(sqlite3_context*, int, sqlite3_value**);
struct Entry {
  const char* name;
  int arguments;
  bool deterministic;
  Function function;
};
int install_all(sqlite3* db, const Entry* first, std::size_t count);

int install_arithmetic(sqlite3* db);
int install_casts(sqlite3* db);
int install_texts(sqlite3* db);
int install_arrays(sqlite3* db);
int install_aggregates(sqlite3* db);

}  // namespace outlast::sql::kit
