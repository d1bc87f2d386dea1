#include "sql/translate/functions.h"

#include <memory>

#include "sql/translate/function_kit.h"
#include "sql/types.h"

namespace outlast::sql {
namespace kit {

int install_all(sqlite3* db, const Entry* first, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const int flags = SQLITE_UTF8 | (first[i].deterministic ? SQLITE_DETERMINISTIC : 0);
    const int rc = sqlite3_create_function_v2(db, first[i].name, first[i].arguments, flags, nullptr, first[i].function,
                                              nullptr, nullptr, nullptr);
    if (rc != SQLITE_OK) return rc;
  }
  return SQLITE_OK;
}

}  // namespace kit

namespace {
using kit::fail;

std::uint64_t random_bits() {
  std::uint64_t bits = 0;
  sqlite3_randomness(sizeof bits, &bits);
  return bits;
}

void random_double(sqlite3_context* c, int, sqlite3_value**) {
  sqlite3_result_double(c, static_cast<double>(random_bits() >> 11) * 0x1.0p-53);
}

void random_uuid(sqlite3_context* c, int, sqlite3_value**) {
  char out[40];
  const std::uint64_t a = random_bits(), b = random_bits();
  std::snprintf(out, sizeof out, "%08x-%04x-4%03x-%04x-%012llx", static_cast<unsigned>(a >> 32),
                static_cast<unsigned>(a >> 16 & 0xFFFF), static_cast<unsigned>(a & 0xFFF),
                static_cast<unsigned>((b >> 48 & 0x3FFF) | 0x8000),
                static_cast<unsigned long long>(b & 0xFFFF'FFFF'FFFF));
  kit::result(c, out);
}

/// The next value of a sequence, in the transaction of the statement that asks.
void next_value(sqlite3_context* c, int, sqlite3_value** v) {
  sqlite3* db = sqlite3_context_db_handle(c);
  sqlite3_stmt* statement = nullptr;
  int rc = sqlite3_prepare_v2(db, "UPDATE outlast_sequence SET value = value + step WHERE name = ?1 RETURNING value",
                              -1, &statement, nullptr);
  if (rc == SQLITE_OK) {
    sqlite3_bind_value(statement, 1, v[0]);
    rc = sqlite3_step(statement);
  }
  if (rc == SQLITE_ROW)
    sqlite3_result_int64(c, sqlite3_column_int64(statement, 0));
  else if (rc == SQLITE_DONE || rc == SQLITE_ERROR)
    fail(c, Errc::kUndefinedTable, "relation \"" + std::string(kit::text(v[0])) + "\" does not exist");
  else
    sqlite3_result_error_code(c, rc);
  sqlite3_finalize(statement);
}

template <bool kTransaction>
void current_time(sqlite3_context* c, int, sqlite3_value**) {
  const auto& clock = *static_cast<const SqlClock*>(sqlite3_user_data(c));
  kit::result(c, format_timestamp(kTransaction ? clock.transaction() : clock.wall()));
}

void delete_clock(void* clock) {
  delete static_cast<SqlClock*>(clock);
}

constexpr kit::Entry kEntries[] = {
    {"pg_random", 0, false, random_double},
    {"pg_random_uuid", 0, false, random_uuid},
    {"pg_nextval", 1, false, next_value},
};

}  // namespace

int install_functions(sqlite3* db, SqlClock clock) {
  // "x" is always a name, never a string; foreign keys hold.
  sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, 0, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DDL, 0, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, 1, nullptr);
  int rc = kit::install_all(db, kEntries, std::size(kEntries));
  for (int (*install)(sqlite3*) :
       {kit::install_arithmetic, kit::install_casts, kit::install_texts, kit::install_arrays, kit::install_aggregates})
    if (rc == SQLITE_OK) rc = install(db);
  if (rc != SQLITE_OK) return rc;
  rc = sqlite3_create_function_v2(db, "pg_now", 0, SQLITE_UTF8, new SqlClock(clock), current_time<true>, nullptr,
                                  nullptr, delete_clock);
  if (rc != SQLITE_OK) return rc;
  return sqlite3_create_function_v2(db, "pg_clock", 0, SQLITE_UTF8, new SqlClock(std::move(clock)), current_time<false>,
                                    nullptr, nullptr, delete_clock);
}

}  // namespace outlast::sql
