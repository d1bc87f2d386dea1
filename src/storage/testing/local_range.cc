#include "storage/testing/local_range.h"

#include <cstdlib>

#include "base/crc32c.h"

namespace outlast::storage::testing {
namespace {

template <class Row>
void for_rows(sqlite3* db, const std::string& sql, Row row) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(db, sql.c_str(), -1, &statement, nullptr) != SQLITE_OK) return;
  while (sqlite3_step(statement) == SQLITE_ROW) row(statement);
  sqlite3_finalize(statement);
}

}  // namespace

int run_sql(Connection& connection, const std::string& sql) {
  return sqlite3_exec(connection.raw(), sql.c_str(), nullptr, nullptr, nullptr);
}

std::string query(sqlite3* db, const std::string& sql) {
  sqlite3_stmt* statement = nullptr;
  std::string out;
  int rc = sqlite3_prepare_v2(db, sql.c_str(), -1, &statement, nullptr);
  if (rc == SQLITE_OK) rc = sqlite3_step(statement);
  if (rc == SQLITE_ROW && sqlite3_column_text(statement, 0) != nullptr)
    out = reinterpret_cast<const char*>(sqlite3_column_text(statement, 0));
  if (rc != SQLITE_ROW && rc != SQLITE_DONE) out = std::string("error: ") + sqlite3_errmsg(db);
  sqlite3_finalize(statement);
  return out;
}

std::uint32_t content_digest(sqlite3* db) {
  std::uint32_t hash = 0;
  const auto add = [&](sqlite3_stmt* row) {
    for (int i = 0; i < sqlite3_column_count(row); ++i) {
      const void* bytes = sqlite3_column_blob(row, i);
      const int count = sqlite3_column_bytes(row, i);
      hash = crc32c(bytes, static_cast<std::size_t>(count), crc32c(&count, sizeof count, hash));
    }
  };
  std::vector<std::string> tables;
  for_rows(db, "SELECT type, name, coalesce(sql, '') FROM sqlite_schema ORDER BY 1, 2", [&](sqlite3_stmt* row) {
    add(row);
    if (std::string(reinterpret_cast<const char*>(sqlite3_column_text(row, 0))) == "table")
      tables.emplace_back(reinterpret_cast<const char*>(sqlite3_column_text(row, 1)));
  });
  for_rows(db, "PRAGMA user_version", add);
  for (const std::string& table : tables) for_rows(db, "SELECT rowid, * FROM " + table + " ORDER BY rowid", add);
  return hash;
}

std::uint64_t seed_or(std::uint64_t otherwise) {
  const char* text = std::getenv("OUTLAST_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

}  // namespace outlast::storage::testing
