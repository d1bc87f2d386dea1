#include "executor/rows_table.h"

#include <new>
#include <span>
#include <string>
#include <vector>

#include "executor/row_batch.h"

namespace outlast::executor {
namespace {

constexpr int kBytes = static_cast<int>(kRowsTableColumns), kWidth = kBytes + 1;  // the hidden columns: arguments

struct Cursor : sqlite3_vtab_cursor {
  std::string bytes;
  RowReader reader{{}, 0};
  std::vector<ValueView> row;
  bool at_row{false};
  sqlite3_int64 number{0};
};

Cursor* mine(sqlite3_vtab_cursor* cursor) {
  return static_cast<Cursor*>(cursor);
}

int rows_connect(sqlite3* db, void*, int, const char* const*, sqlite3_vtab** out, char**) {
  std::string sql = "CREATE TABLE x(";
  for (std::size_t i = 1; i <= kRowsTableColumns; ++i) sql += "c" + std::to_string(i) + ",";
  if (const int rc = sqlite3_declare_vtab(db, (sql + "bytes HIDDEN,width HIDDEN)").c_str()); rc != SQLITE_OK) return rc;
  sqlite3_vtab_config(db, SQLITE_VTAB_DIRECTONLY);
  *out = new sqlite3_vtab{};
  return SQLITE_OK;
}

int rows_disconnect(sqlite3_vtab* table) {
  delete table;
  return SQLITE_OK;
}

/// There is one plan: both arguments are given.
int rows_best_index(sqlite3_vtab*, sqlite3_index_info* info) {
  bool bytes = false, width = false;
  for (int i = 0; i < info->nConstraint; ++i) {
    const auto& constraint = info->aConstraint[i];
    const bool argument = constraint.iColumn == kBytes || constraint.iColumn == kWidth;
    if (!argument || constraint.op != SQLITE_INDEX_CONSTRAINT_EQ) continue;
    if (constraint.usable == 0) return SQLITE_CONSTRAINT;
    (constraint.iColumn == kBytes ? bytes : width) = true;
    info->aConstraintUsage[i] = {constraint.iColumn == kBytes ? 1 : 2, 1};
  }
  info->estimatedCost = bytes && width ? 1000 : 1e9;
  info->idxNum = bytes && width ? 1 : 0;
  return SQLITE_OK;
}

int rows_open(sqlite3_vtab*, sqlite3_vtab_cursor** out) {
  *out = new (std::nothrow) Cursor;
  return *out == nullptr ? SQLITE_NOMEM : SQLITE_OK;
}

int rows_close(sqlite3_vtab_cursor* cursor) {
  delete mine(cursor);
  return SQLITE_OK;
}

int refuse(sqlite3_vtab_cursor* cursor, const std::string& why) {
  sqlite3_free(cursor->pVtab->zErrMsg);
  cursor->pVtab->zErrMsg = sqlite3_mprintf("%s", why.c_str());
  return SQLITE_ERROR;
}

int rows_next(sqlite3_vtab_cursor* c) {
  Cursor& cursor = *mine(c);
  cursor.at_row = !cursor.reader.done();
  if (!cursor.at_row) return SQLITE_OK;
  ++cursor.number;
  const Result<void> read = cursor.reader.next(std::span(cursor.row));
  return read.ok() ? SQLITE_OK : refuse(c, read.error().message);
}

int rows_filter(sqlite3_vtab_cursor* c, int plan, const char*, int, sqlite3_value** arguments) {
  Cursor& cursor = *mine(c);
  if (plan == 0) return refuse(c, "outlast_rows wants the bytes of rows and the number of their columns");
  const sqlite3_int64 width = sqlite3_value_int64(arguments[1]);
  if (width < 1 || width > static_cast<sqlite3_int64>(kRowsTableColumns))
    return refuse(c, "outlast_rows gives rows of 1 to " + std::to_string(kRowsTableColumns) + " columns");
  const auto* bytes = static_cast<const char*>(sqlite3_value_blob(arguments[0]));
  try {  // a copy: what SQLite gives here need not outlive this call
    cursor.bytes.assign(bytes == nullptr ? "" : bytes, static_cast<std::size_t>(sqlite3_value_bytes(arguments[0])));
    cursor.row.assign(static_cast<std::size_t>(width), {});
  } catch (const std::bad_alloc&) {
    return SQLITE_NOMEM;
  }
  cursor.reader = RowReader(cursor.bytes, cursor.row.size());
  cursor.number = 0;
  return rows_next(c);
}

int rows_eof(sqlite3_vtab_cursor* cursor) {
  return mine(cursor)->at_row ? 0 : 1;
}

int rows_column(sqlite3_vtab_cursor* cursor, sqlite3_context* context, int column) {
  const std::vector<ValueView>& row = mine(cursor)->row;
  if (column < 0 || static_cast<std::size_t>(column) >= row.size()) return SQLITE_OK;  // NULL
  const ValueView& value = row[static_cast<std::size_t>(column)];
  switch (value.kind) {
    case ValueView::Kind::kInteger:
      sqlite3_result_int64(context, value.integer);
      break;
    case ValueView::Kind::kReal:
      sqlite3_result_double(context, value.real);
      break;
    case ValueView::Kind::kText:
      sqlite3_result_text64(context, value.bytes.data(), value.bytes.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
      break;
    case ValueView::Kind::kBlob:
      sqlite3_result_blob64(context, value.bytes.data(), value.bytes.size(), SQLITE_TRANSIENT);
      break;
    case ValueView::Kind::kNull:
      break;
  }
  return SQLITE_OK;
}

int rows_rowid(sqlite3_vtab_cursor* cursor, sqlite3_int64* out) {
  *out = mine(cursor)->number;
  return SQLITE_OK;
}

constexpr sqlite3_module kModule = {
    .iVersion = 0,
    .xCreate = nullptr,  // it is there without CREATE VIRTUAL TABLE, and only so
    .xConnect = rows_connect,
    .xBestIndex = rows_best_index,
    .xDisconnect = rows_disconnect,
    .xDestroy = nullptr,
    .xOpen = rows_open,
    .xClose = rows_close,
    .xFilter = rows_filter,
    .xNext = rows_next,
    .xEof = rows_eof,
    .xColumn = rows_column,
    .xRowid = rows_rowid,
    .xUpdate = nullptr,
    .xBegin = nullptr,
    .xSync = nullptr,
    .xCommit = nullptr,
    .xRollback = nullptr,
    .xFindFunction = nullptr,
    .xRename = nullptr,
    .xSavepoint = nullptr,
    .xRelease = nullptr,
    .xRollbackTo = nullptr,
    .xShadowName = nullptr,
};

}  // namespace

int add_rows_table(sqlite3* connection) {
  return sqlite3_create_module(connection, std::string(kRowsTable).c_str(), &kModule, nullptr);
}

}  // namespace outlast::executor
