// Any bytes through the translator; what it accepts must be a statement that SQLite at least tokenises. Run by ./dev
// fuzz.
#include <sqlite3.h>

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "sql/translate/functions.h"
#include "sql/translate/translate.h"

namespace {
sqlite3* database() {
  static sqlite3* const db = [] {
    sqlite3* opened = nullptr;
    sqlite3_open(":memory:", &opened);
    const outlast::sql::SqlClock clock{[] { return std::int64_t{0}; }, [] { return std::int64_t{0}; }};
    outlast::sql::install_functions(opened, clock);
    return opened;
  }();
  return db;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto translated = outlast::sql::translate({reinterpret_cast<const char*>(data), size});
  if (!translated.ok()) {
    if (translated.error().message.empty()) std::abort();
    return 0;
  }
  for (const auto& one : *translated) {
    for (const auto& sql : one.sql) {
      sqlite3_stmt* statement = nullptr;
      const char* tail = nullptr;
      const int rc = sqlite3_prepare_v2(database(), sql.c_str(), -1, &statement, &tail);
      // One statement each: nothing of the client's text may start a second one.
      if (rc == SQLITE_OK && tail != nullptr && *tail != 0) std::abort();
      sqlite3_finalize(statement);
    }
  }
  return 0;
}
