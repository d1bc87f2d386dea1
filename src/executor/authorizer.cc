#include "executor/authorizer.h"

#include <sqlite3.h>
#include <strings.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace outlast::executor {
namespace {

bool same(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}
template <std::size_t N>
bool among(std::string_view word, const std::array<std::string_view, N>& words) {
  return std::any_of(words.begin(), words.end(), [&](std::string_view w) { return same(word, w); });
}
std::string_view text(const char* s) {
  return s == nullptr ? std::string_view() : std::string_view(s);
}

// The first three are written to the database header, so they travel as frames like any row. ALTER TABLE ADD COLUMN
// with a CHECK asks the last one by itself; it only reads.
constexpr std::array<std::string_view, 4> kFreePragmas{"user_version", "application_id", "incremental_vacuum",
                                                       "quick_check"};
// Only without a value: the full-text modules ask for the first two by themselves.
constexpr std::array<std::string_view, 3> kReadPragmas{"data_version", "page_size", "schema_version"};
constexpr std::array<std::string_view, 10> kSchemaPragmas{
    "table_info",  "table_xinfo",      "table_list",     "index_list",    "index_info",
    "index_xinfo", "foreign_key_list", "collation_list", "database_list", "function_list"};
constexpr std::array<std::string_view, 6> kModules{"fts3", "fts4", "fts5", "fts5vocab", "rtree", "rtree_i32"};
constexpr std::array<std::string_view, 2> kFunctions{"load_extension", "fts3_tokenizer"};

bool of_loads(std::string_view table) {
  return table.starts_with("outlast_load_") || table.starts_with("outlast_stage_");
}

std::optional<std::string> pragma_refusal(Caller caller, const Action& action) {
  const std::string_view name = text(action.first);
  if (among(name, kFreePragmas)) return std::nullopt;
  if (action.second == nullptr && among(name, kReadPragmas)) return std::nullopt;
  if (caller == Caller::kInternal && among(name, kSchemaPragmas)) return std::nullopt;
  return "PRAGMA " + std::string(name) + " is not available: it would change how the database is stored or replicated";
}

}  // namespace

std::optional<std::string> refusal(Caller caller, const Action& action) {
  if (caller == Caller::kOwn) return std::nullopt;
  switch (action.code) {
    case SQLITE_PRAGMA:
      return pragma_refusal(caller, action);
    case SQLITE_ATTACH:
      return "ATTACH and VACUUM are not available: a database is one replicated file";
    case SQLITE_DETACH:
      return "DETACH is not available: a database is one replicated file";
    case SQLITE_CREATE_TEMP_INDEX:
    case SQLITE_CREATE_TEMP_TABLE:
    case SQLITE_CREATE_TEMP_TRIGGER:
    case SQLITE_CREATE_TEMP_VIEW:
    case SQLITE_DROP_TEMP_INDEX:
    case SQLITE_DROP_TEMP_TABLE:
    case SQLITE_DROP_TEMP_TRIGGER:
    case SQLITE_DROP_TEMP_VIEW:
      return "temporary objects are not available: they would not be replicated; create an ordinary table instead";
    case SQLITE_UPDATE:
      // ALTER TABLE looks by itself for temporary objects that name the table; clients cannot change this one.
      if (same(text(action.first), "sqlite_temp_master")) return std::nullopt;
      [[fallthrough]];
    case SQLITE_INSERT:
    case SQLITE_DELETE:
      if (same(text(action.database), "temp"))
        return "temporary objects are not available: they would not be replicated; create an ordinary table instead";
      if (caller == Caller::kClient && of_loads(text(action.first)))
        return "permission denied: the table belongs to Outlast, which keeps what loads have staged there";
      return std::nullopt;
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT:
      return "transactions are opened and ended by the session, not inside a statement";
    case SQLITE_CREATE_VTABLE:
      if (among(text(action.second), kModules)) return std::nullopt;
      return "the virtual table module " + std::string(text(action.second)) + " is not available";
    case SQLITE_FUNCTION:
      if (!among(text(action.second), kFunctions)) return std::nullopt;
      return "the function " + std::string(text(action.second)) + " is not available: it runs foreign code";
    default:
      return std::nullopt;
  }
}

}  // namespace outlast::executor
