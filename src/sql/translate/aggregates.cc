#include <new>

#include "sql/translate/function_kit.h"

namespace outlast::sql::kit {
namespace {

/// string_agg and array_agg collect a text; SQLite owns the zeroed cell that points to it.
struct Collected {
  std::string* text;
};

Collected* cell(sqlite3_context* c) {
  auto* out = static_cast<Collected*>(sqlite3_aggregate_context(c, sizeof(Collected)));
  return out;
}

void string_step(sqlite3_context* c, int, sqlite3_value** v) {
  if (null(v[0])) return;
  Collected* out = cell(c);
  if (out == nullptr) return sqlite3_result_error_nomem(c);
  if (out->text == nullptr)
    out->text = new std::string();
  else if (!null(v[1]))
    out->text->append(text(v[1]));
  out->text->append(text(v[0]));
}

void string_final(sqlite3_context* c) {
  auto* out = static_cast<Collected*>(sqlite3_aggregate_context(c, 0));
  if (out == nullptr || out->text == nullptr) return;
  result(c, *out->text);
  delete out->text;
  out->text = nullptr;
}

void array_step(sqlite3_context* c, int, sqlite3_value** v) {
  Collected* out = cell(c);
  if (out == nullptr) return sqlite3_result_error_nomem(c);
  if (out->text == nullptr)
    out->text = new std::string();
  else
    *out->text += ',';
  if (null(v[0])) {
    *out->text += "NULL";
    return;
  }
  *out->text += '"';
  for (const char ch : text(v[0])) {
    if (ch == '"' || ch == '\\') *out->text += '\\';
    *out->text += ch;
  }
  *out->text += '"';
}

void array_final(sqlite3_context* c) {
  auto* out = static_cast<Collected*>(sqlite3_aggregate_context(c, 0));
  if (out == nullptr || out->text == nullptr) return;
  result(c, "{" + *out->text + "}");
  delete out->text;
  out->text = nullptr;
}

/// The value of a subquery used as an expression; a second row is an error.
struct OneRow {
  sqlite3_value* value;
  int rows;
};

void one_step(sqlite3_context* c, int, sqlite3_value** v) {
  auto* out = static_cast<OneRow*>(sqlite3_aggregate_context(c, sizeof(OneRow)));
  if (out == nullptr) return sqlite3_result_error_nomem(c);
  if (++out->rows > 1)
    return fail(c, Errc::kInvalidArgument, "more than one row returned by a subquery used as an expression");
  out->value = sqlite3_value_dup(v[0]);
}

void one_final(sqlite3_context* c) {
  auto* out = static_cast<OneRow*>(sqlite3_aggregate_context(c, 0));
  if (out == nullptr || out->value == nullptr) return;
  sqlite3_result_value(c, out->value);
  sqlite3_value_free(out->value);
  out->value = nullptr;
}

}  // namespace

int install_aggregates(sqlite3* db) {
  constexpr int kFlags = SQLITE_UTF8 | SQLITE_DETERMINISTIC;
  int rc =
      sqlite3_create_function_v2(db, "pg_string_agg", 2, kFlags, nullptr, nullptr, string_step, string_final, nullptr);
  if (rc == SQLITE_OK)
    rc = sqlite3_create_function_v2(db, "pg_array_agg", 1, kFlags, nullptr, nullptr, array_step, array_final, nullptr);
  if (rc == SQLITE_OK)
    rc = sqlite3_create_function_v2(db, "pg_one_row", 1, kFlags, nullptr, nullptr, one_step, one_final, nullptr);
  return rc;
}

}  // namespace outlast::sql::kit
