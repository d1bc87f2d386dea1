#pragma once
#include <sqlite3.h>

#include <string>

namespace outlast::testing {

/// The SQL functions that the translator's statements call and that FakeSession can do without an executor.
void register_fake_functions(sqlite3* db, const std::string& database);

}  // namespace outlast::testing
