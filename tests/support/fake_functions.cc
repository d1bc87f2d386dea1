#include "tests/support/fake_functions.h"

#include <functional>

namespace outlast::testing {
namespace {
void constant(sqlite3_context* context, int, sqlite3_value**) {
  const auto* text = static_cast<const std::string*>(sqlite3_user_data(context));
  sqlite3_result_text(context, text->data(), static_cast<int>(text->size()), SQLITE_TRANSIENT);
}
void destroy(void* text) {
  delete static_cast<std::string*>(text);
}
void identity(sqlite3_context* context, int count, sqlite3_value** values) {
  if (count > 0) sqlite3_result_value(context, values[0]);
}
void now(sqlite3_context* context, int, sqlite3_value**) {
  sqlite3_result_text(context, "2024-01-05 10:00:00", -1, SQLITE_STATIC);
}
template <class Operation>
void arithmetic(sqlite3_context* context, int count, sqlite3_value** values) {
  if (count != 2 || sqlite3_value_type(values[0]) == SQLITE_NULL || sqlite3_value_type(values[1]) == SQLITE_NULL)
    return;
  const auto is_integer = [](sqlite3_value* v) { return sqlite3_value_numeric_type(v) == SQLITE_INTEGER; };
  if (is_integer(values[0]) && is_integer(values[1]))
    sqlite3_result_int64(context, Operation{}(sqlite3_value_int64(values[0]), sqlite3_value_int64(values[1])));
  else
    sqlite3_result_double(context, Operation{}(sqlite3_value_double(values[0]), sqlite3_value_double(values[1])));
}
}  // namespace

void register_fake_functions(sqlite3* db, const std::string& database) {
  const auto text = [db](const char* name, const std::string& value) {
    sqlite3_create_function_v2(db, name, 0, SQLITE_UTF8, new std::string(value), constant, nullptr, nullptr, destroy);
  };
  text("outlast_database", database);
  text("outlast_user", "postgres");
  const auto function = [db](const char* name, void (*run)(sqlite3_context*, int, sqlite3_value**)) {
    sqlite3_create_function_v2(db, name, -1, SQLITE_UTF8, nullptr, run, nullptr, nullptr, nullptr);
  };
  for (const char* name :
       {"pg_int2", "pg_int4", "pg_int8", "pg_text", "pg_float8", "pg_float4", "pg_bool", "pg_coerce", "pg_limit",
        "pg_offset", "pg_number", "pg_int2n", "pg_int4n", "pg_int8n", "pg_null", "pg_refuse_null", "pg_must_exist"})
    function(name, identity);
  function("pg_now", now);
  function("pg_add", arithmetic<std::plus<>>);
  function("pg_sub", arithmetic<std::minus<>>);
  function("pg_mul", arithmetic<std::multiplies<>>);
}

}  // namespace outlast::testing
