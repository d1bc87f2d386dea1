#pragma once
#include <string>
#include <string_view>

#include "base/error.h"

namespace outlast::executor {

/// What PostgreSQL would say for an error of SQLite, so that no raw SQLite text alone reaches a client.
///
/// `extended_code` is sqlite3_extended_errcode(), `message` sqlite3_errmsg() right after the failed call. Three sources
/// are told apart: Outlast's own SQL functions ("pg:22012:division by zero", made by function_error()), constraints
/// that the translator generates ("pg_type:…", see type_constraint()), and SQLite itself. A text that is not known here
/// becomes kInternal or kSyntax with the text kept in `detail`.
/// Thread-safety: any thread.
Error map_sqlite_error(int extended_code, std::string_view message);

/// The part of it for SQLITE_CONSTRAINT_*: `message` as SQLite words it ("UNIQUE constraint failed: t.a, t.b").
Error map_sqlite_constraint(std::string_view message);

/// The text by which an SQL function of ours fails with this SQLSTATE: for sqlite3_result_error().
std::string function_error(Errc code, std::string_view message);

/// Name of a generated CHECK constraint: `rule` is "type", "range", "length" or "null"; `type` is PostgreSQL's name of
/// the column's type ("character varying(22)"). parse_type_constraint() takes it apart again.
std::string type_constraint(std::string_view rule, std::string_view type, std::string_view column);
struct TypeConstraint {
  std::string_view rule, type, column;
};
/// False when `name` is not such a name (then `out` is untouched). The views point into `name`.
bool parse_type_constraint(std::string_view name, TypeConstraint& out);

}  // namespace outlast::executor
