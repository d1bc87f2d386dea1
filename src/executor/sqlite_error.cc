#include "executor/sqlite_error.h"

#include <sqlite3.h>

#include <array>

namespace outlast::executor {
namespace {

constexpr std::string_view kFunctionPrefix = "pg:";
constexpr std::string_view kConstraintPrefix = "pg_";

std::string in_quotes(std::string_view name) {
  return "\"" + std::string(name) + "\"";
}

/// The rest of `text` after the last `mark`; `text` itself when it does not occur.
std::string_view after(std::string_view text, std::string_view mark) {
  const auto at = text.find(mark);
  return at == std::string_view::npos ? text : text.substr(at + mark.size());
}

Error from_function(std::string_view text) {
  text.remove_prefix(kFunctionPrefix.size());
  return {errc_from_sqlstate(text.substr(0, 5)), std::string(text.substr(6))};
}

bool is_function_error(std::string_view text) {
  return text.starts_with(kFunctionPrefix) && text.size() > 9 && text[8] == ':';
}

/// "t.a, t.b" → table "t", columns "a, b".
void split_columns(std::string_view list, std::string& table, std::string& columns) {
  while (!list.empty()) {
    const auto comma = list.find(", ");
    const std::string_view item = list.substr(0, comma);
    const auto dot = item.find('.');
    if (table.empty() && dot != std::string_view::npos) table = item.substr(0, dot);
    if (!columns.empty()) columns += ", ";
    columns += dot == std::string_view::npos ? item : item.substr(dot + 1);
    list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 2);
  }
}

Error unique_violation(std::string_view list) {
  // SQLite names an index with expressions ("index 'i'"), any other by its columns.
  if (list.starts_with("index '")) {
    const std::string_view name = list.substr(7, list.size() - 8);
    return {Errc::kUniqueViolation, "duplicate key value violates unique constraint " + in_quotes(name)};
  }
  std::string table, columns;
  split_columns(list, table, columns);
  Error error(Errc::kUniqueViolation, "duplicate key value violates unique constraint on table " + in_quotes(table));
  error.detail = "Key (" + columns + ") already exists.";
  return error;
}

Error not_null_violation(std::string_view list) {
  std::string table, columns;
  split_columns(list, table, columns);
  return {Errc::kNotNullViolation, "null value in column " + in_quotes(columns) + " of relation " + in_quotes(table) +
                                       " violates not-null constraint"};
}

Error type_violation(const TypeConstraint& c) {
  const std::string type(c.type);
  if (c.rule == "null")
    return {Errc::kNotNullViolation, "null value in column " + in_quotes(c.column) + " violates not-null constraint"};
  if (c.rule == "length") return {Errc::kStringTooLong, "value too long for type " + type};
  if (c.rule == "range") return {Errc::kNumericOutOfRange, type + " out of range"};
  const bool time = type.starts_with("time") || type.starts_with("date");
  Error error(time ? Errc::kInvalidDatetime : Errc::kInvalidText,
              "invalid input syntax for type " + type + " in column " + in_quotes(c.column));
  error.hint = "Write the value in PostgreSQL's output form, or cast it: '…'::" + type + ".";
  return error;
}

struct Wording {
  std::string_view prefix;
  Errc code;
  std::string_view before, behind;
};
/// SQLite's texts of prepare errors that end with a name, and PostgreSQL's around the same name.
constexpr std::array kWordings = {
    Wording{"no such table: ", Errc::kUndefinedTable, "relation \"", "\" does not exist"},
    Wording{"no such view: ", Errc::kUndefinedTable, "view \"", "\" does not exist"},
    Wording{"no such index: ", Errc::kUndefinedObject, "index \"", "\" does not exist"},
    Wording{"no such column: ", Errc::kUndefinedColumn, "column \"", "\" does not exist"},
    Wording{"no such function: ", Errc::kUndefinedFunction, "function ", " does not exist"},
    Wording{"no such savepoint: ", Errc::kInvalidSavepoint, "savepoint \"", "\" does not exist"},
    Wording{"no such trigger: ", Errc::kUndefinedObject, "trigger \"", "\" does not exist"},
    Wording{"no such collation sequence: ", Errc::kUndefinedObject, "collation \"", "\" does not exist"},
    Wording{"ambiguous column name: ", Errc::kAmbiguousColumn, "column reference \"", "\" is ambiguous"},
    Wording{"duplicate column name: ", Errc::kDuplicateColumn, "column \"", "\" specified more than once"},
    Wording{"misuse of aggregate: ", Errc::kGroupingError, "aggregate function ", " is not allowed here"},
    Wording{"misuse of aggregate function ", Errc::kGroupingError, "aggregate function ", " is not allowed here"},
    Wording{"misuse of window function ", Errc::kGroupingError, "window function ", " is not allowed here"},
};

std::string_view bare(std::string_view name) {
  if (name.starts_with("main.")) name.remove_prefix(5);
  return name;
}

/// "table t has no column named c", "table t has 3 columns but 2 values were supplied", "there is already a table …".
bool sentence(std::string_view text, Error& out) {
  if (text.find(" has no column named ") != text.npos) {
    const std::string_view table = text.substr(6, text.find(" has no column") - 6);
    out = {Errc::kUndefinedColumn, "column " + in_quotes(after(text, " has no column named ")) + " of relation " +
                                       in_quotes(table) + " does not exist"};
  } else if (text.find("values were supplied") != text.npos || text.find(" values for ") != text.npos) {
    out = {Errc::kSyntax, "INSERT has more or fewer expressions than target columns; name the columns that you give"};
  } else if (text.ends_with(" already exists")) {
    const std::string_view name = text.substr(0, text.size() - 15);
    const bool table = name.starts_with("table ") || name.starts_with("view ") || name.starts_with("index ");
    const std::string_view last = table ? after(name, " ") : name;
    out = {Errc::kDuplicateTable,
           "relation " + (last.starts_with('"') ? std::string(last) : in_quotes(last)) + " already exists"};
  } else if (text.starts_with("there is already a") || text.starts_with("there is already another")) {
    out = {Errc::kDuplicateTable, "relation " + in_quotes(after(text, ": ")) + " already exists"};
  } else if (text.starts_with("too many terms") || text.starts_with("too many columns") ||
             text.find("maximum depth") != text.npos || text.starts_with("too many SQL variables") ||
             text.starts_with("parser stack overflow") || text.find("limit exceeded") != text.npos) {
    out = {Errc::kFeatureLimit, "statement is too complex for Outlast; split it into smaller ones"};
  } else if (text.starts_with("ON CONFLICT clause does not match")) {
    out = {
        Errc::kUndefinedObject,
        "there is no unique or exclusion constraint matching the ON CONFLICT specification; create a unique index on "
        "those columns"};
  } else if (text.find("JSON") != text.npos) {
    out = {Errc::kInvalidText, "invalid input syntax for type json"};
  } else if (text == "integer overflow") {
    out = {Errc::kNumericOutOfRange, "bigint out of range"};
  } else if (text == "datatype mismatch") {
    out = {Errc::kDatatypeMismatch, "value is not of the type that is needed here; cast it"};
  } else if (text.find("may not be modified") != text.npos || text.find("may not be dropped") != text.npos ||
             text.find("may not be altered") != text.npos || text.starts_with("cannot modify")) {
    out = {Errc::kInsufficientPrivilege, "permission denied: the object belongs to Outlast or is a view"};
  } else {
    return false;
  }
  return true;
}

Error prepare_error(std::string_view text) {
  for (const Wording& w : kWordings) {
    if (!text.starts_with(w.prefix)) continue;
    std::string_view name = text.substr(w.prefix.size());
    if (const auto end = name.find(' '); end != name.npos) name = name.substr(0, end);
    return {w.code, std::string(w.before) + std::string(bare(name)) + std::string(w.behind)};
  }
  Error error;
  if (sentence(text, error)) {
    error.detail = std::string(text);
    return error;
  }
  error = Error(Errc::kSyntax, "the statement cannot be run by Outlast's engine; simplify it or see docs/sql.md");
  error.detail = std::string(text);
  return error;
}

}  // namespace

std::string function_error(Errc code, std::string_view message) {
  return std::string(kFunctionPrefix) + std::string(facts(code).sqlstate) + ":" + std::string(message);
}

std::string type_constraint(std::string_view rule, std::string_view type, std::string_view column) {
  return std::string(kConstraintPrefix) + std::string(rule) + ":" + std::string(type) + ":" + std::string(column);
}

bool parse_type_constraint(std::string_view name, TypeConstraint& out) {
  if (!name.starts_with(kConstraintPrefix)) return false;
  const auto first = name.find(':');
  if (first == name.npos) return false;
  const std::string_view rule = name.substr(3, first - 3);
  if (rule != "type" && rule != "range" && rule != "length" && rule != "null") return false;
  const auto second = name.find(':', first + 1);
  if (second == name.npos) return false;
  out = {rule, name.substr(first + 1, second - first - 1), name.substr(second + 1)};
  return true;
}

Error map_sqlite_constraint(std::string_view message) {
  const std::string_view rest = after(message, " constraint failed: ");
  TypeConstraint type;
  if (message.starts_with("UNIQUE")) return unique_violation(rest);
  if (message.starts_with("NOT NULL")) return not_null_violation(rest);
  if (message.starts_with("FOREIGN KEY"))
    return {Errc::kForeignKeyViolation, "insert, update or delete violates a foreign key constraint"};
  if (message.starts_with("CHECK")) {
    if (parse_type_constraint(rest, type)) return type_violation(type);
    return {Errc::kCheckViolation, "new row violates check constraint " + in_quotes(rest)};
  }
  if (is_function_error(message)) return from_function(message);
  if (parse_type_constraint(message, type)) return type_violation(type);  // RAISE(ABORT, …) of a generated trigger
  Error error(Errc::kCheckViolation, "new row violates a constraint");
  error.detail = std::string(message);
  return error;
}

Error map_sqlite_error(int extended_code, std::string_view message) {
  if (is_function_error(message)) return from_function(message);
  switch (extended_code & 0xff) {
    case SQLITE_CONSTRAINT:
      return map_sqlite_constraint(message);
    case SQLITE_ERROR:
      return prepare_error(message);
    case SQLITE_BUSY:
      if (extended_code == SQLITE_BUSY_SNAPSHOT)
        return {Errc::kSerialization, "could not serialize access due to concurrent update; run the transaction again"};
      return {Errc::kLockTimeout, "canceling statement due to lock timeout; try again"};
    case SQLITE_LOCKED:
      return {Errc::kObjectInUse, "the table is in use by another statement of this session"};
    case SQLITE_INTERRUPT:
      return {Errc::kCancelled, "canceling statement due to user request"};
    case SQLITE_READONLY:
      return {Errc::kReadOnlyTransaction, "cannot execute a write in a read-only transaction"};
    case SQLITE_FULL:
      return {Errc::kDiskFull, "no space left on the leaseholder's disk; free some and try again"};
    case SQLITE_IOERR:
      return {Errc::kIo, "the leaseholder's disk failed a read or write; see its log"};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return {Errc::kCorrupt, "a page of the range is damaged; see docs/operations for its repair"};
    case SQLITE_NOMEM:
      return {Errc::kOutOfMemory, "out of memory; try again with a smaller statement"};
    case SQLITE_TOOBIG:
      return {Errc::kTooLarge, "a string or row is over the size limit; store it in smaller pieces"};
    case SQLITE_AUTH:
      return {Errc::kInsufficientPrivilege, "permission denied: Outlast keeps this to itself"};
    case SQLITE_MISMATCH:
      return {Errc::kDatatypeMismatch, "value is not of the type that is needed here; cast it"};
    case SQLITE_RANGE:
      return {Errc::kProtocolViolation, "bind message supplies a parameter that the statement does not have"};
    case SQLITE_SCHEMA:
      return {Errc::kSerialization, "the schema changed while the statement ran; run it again"};
    default:
      break;
  }
  Error error(Errc::kInternal, "the storage engine failed; report it with the detail");
  error.detail = std::string(message) + " (" + std::to_string(extended_code) + ")";
  return error;
}

}  // namespace outlast::executor
