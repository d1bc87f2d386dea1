#include "sql/catalog/catalog.h"

#include <sqlite3.h>

#include <chrono>

#include "executor/sqlite_error.h"
#include "sql/catalog/fill.h"
#include "sql/catalog/tables.h"
#include "sql/translate/functions.h"

namespace outlast::sql {
namespace {
using executor::Value;

/// PostgreSQL's boolean and oid columns, by name: the rest is typed by its values.
std::string_view declared_type(std::string_view column) {
  if (column == "oid" || column.ends_with("relid") || column.ends_with("typid") || column.ends_with("namespace") ||
      column.ends_with("owner") || column.ends_with("dba"))
    return "OID";
  for (const std::string_view start :
       {"relhas",         "relis",     "relrow",        "relforce",     "attnot",     "atthas",     "attis",
        "indis",          "condef",    "convalid",      "rolsuper",     "rolinherit", "rolcreate",  "rolcanlogin",
        "rolreplication", "rolbypass", "datistemplate", "datallowconn", "typbyval",   "typnotnull", "typis",
        "puball",         "pubinsert", "pubupdate",     "pubdelete"})
    if (column.starts_with(start) && column != "relispartition_") return "BOOLEAN";
  if (column.ends_with("name")) return "NAME";
  return "";
}

std::string create_table(const CatalogTable& table) {
  std::string sql = "CREATE TABLE pg_catalog.\"" + std::string(table.name) + "\"(", word;
  bool first = true;
  for (const char c : std::string(table.columns) + " ") {
    if (c != ' ') {
      word += c;
      continue;
    }
    if (word.empty()) continue;
    sql += (first ? "\"" : ", \"") + word + "\" " + std::string(declared_type(word));
    first = false, word.clear();
  }
  return sql + ")";
}

Value column_value(sqlite3_stmt* s, int c) {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(s, c));
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(s, c));
  switch (sqlite3_column_type(s, c)) {
    case SQLITE_INTEGER:
      return static_cast<std::int64_t>(sqlite3_column_int64(s, c));
    case SQLITE_FLOAT:
      return sqlite3_column_double(s, c);
    case SQLITE_TEXT:
      return std::string(bytes == nullptr ? "" : bytes, size);
    case SQLITE_BLOB:
      return executor::Blob{std::string(bytes == nullptr ? "" : bytes, size)};
    default:
      return executor::Null{};
  }
}

void bind(sqlite3_stmt* s, int i, const Value& value) {
  if (const auto* n = std::get_if<std::int64_t>(&value))
    sqlite3_bind_int64(s, i, *n);
  else if (const auto* d = std::get_if<double>(&value))
    sqlite3_bind_double(s, i, *d);
  else if (const auto* t = std::get_if<std::string>(&value))
    sqlite3_bind_text64(s, i, t->data(), t->size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  else if (const auto* b = std::get_if<executor::Blob>(&value))
    sqlite3_bind_blob64(s, i, b->bytes.data(), b->bytes.size(), SQLITE_TRANSIENT);
  else
    sqlite3_bind_null(s, i);
}

void format_type(sqlite3_context* c, int, sqlite3_value** v) {
  if (sqlite3_value_type(v[0]) == SQLITE_NULL) return;
  const auto type = static_cast<Oid>(sqlite3_value_int64(v[0]));
  std::string text = type == 0 ? "-" : std::string(type_name(type));
  const std::int64_t modifier = sqlite3_value_type(v[1]) == SQLITE_NULL ? -1 : sqlite3_value_int64(v[1]);
  if (modifier > 4 && (type == oid::kVarchar || type == oid::kBpchar)) text += "(" + std::to_string(modifier - 4) + ")";
  sqlite3_result_text(c, text.c_str(), -1, SQLITE_TRANSIENT);
}

template <std::string CatalogNames::* kName>
void own_name(sqlite3_context* c, int, sqlite3_value**) {
  const auto& names = *static_cast<const CatalogNames*>(sqlite3_user_data(c));
  sqlite3_result_text(c, (names.*kName).c_str(), -1, SQLITE_TRANSIENT);
}

class SqliteCatalog final : public Catalog {
 public:
  SqliteCatalog() {
    sqlite3_open_v2(":memory:", &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
    const auto wall = [] {
      return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count();
    };
    install_functions(db_, {wall, wall});
    constexpr int kFlags = SQLITE_UTF8;
    sqlite3_create_function_v2(db_, "format_type", 2, kFlags, nullptr, format_type, nullptr, nullptr, nullptr);
    sqlite3_create_function_v2(db_, "outlast_user", 0, kFlags, &names_, own_name<&CatalogNames::user>, nullptr, nullptr,
                               nullptr);
    sqlite3_create_function_v2(db_, "outlast_database", 0, kFlags, &names_, own_name<&CatalogNames::database>, nullptr,
                               nullptr, nullptr);
    exec("ATTACH ':memory:' AS pg_catalog");
    exec("ATTACH ':memory:' AS information_schema");
    for (const CatalogTable& table : catalog_tables()) exec(create_table(table));
    exec("CREATE TABLE pg_catalog.outlast_definition(outlast_oid OID PRIMARY KEY, indexdef TEXT) WITHOUT ROWID");
    // Names that no client's column can capture inside the subqueries that the translator writes.
    exec("CREATE VIEW pg_catalog.outlast_relation AS SELECT oid AS outlast_oid, relname AS outlast_name FROM pg_class");
    exec(
        "CREATE VIEW pg_catalog.outlast_namespace AS SELECT oid AS outlast_oid, nspname AS outlast_name FROM "
        "pg_namespace");
    for (const CatalogTable& table : information_tables()) {
      std::string sql = create_table(table);
      exec("CREATE TABLE information_schema." + sql.substr(sizeof("CREATE TABLE pg_catalog.") - 1));
    }
  }
  ~SqliteCatalog() override { sqlite3_close_v2(db_); }

  Result<void> refresh(const SchemaSnapshot& schema, const std::string& database, const std::string& user,
                       const std::vector<gateway::DatabaseRow>& databases) override {
    std::string list;
    for (const auto& row : databases) list += row.name + "/" + std::to_string(row.id.value) + "\n";
    if (version_ == schema.version && names_.database == database && names_.user == user && list_ == list) return {};
    names_ = {user, database};
    exec("BEGIN");
    for (const CatalogTable& table : catalog_tables())
      exec("DELETE FROM pg_catalog.\"" + std::string(table.name) + "\"");
    for (const CatalogTable& table : information_tables())
      exec("DELETE FROM information_schema.\"" + std::string(table.name) + "\"");
    exec("DELETE FROM pg_catalog.outlast_definition");
    Result<void> done;
    for (const CatalogRow& row : catalog_rows(schema, names_, databases)) {
      done = insert(row);
      if (!done.ok()) break;
    }
    exec(done.ok() ? "COMMIT" : "ROLLBACK");
    version_ = done.ok() ? schema.version : -1;
    list_ = std::move(list);
    return done;
  }
  std::int64_t version() const override { return version_; }

  Result<CatalogRows> run(const std::string& sql, const std::vector<Value>& params,
                          const std::vector<PgType>& hints) override {
    sqlite3_stmt* raw = nullptr;
    if (sqlite3_prepare_v2(db_, sql.c_str(), -1, &raw, nullptr) != SQLITE_OK) return error();
    const std::unique_ptr<sqlite3_stmt, int (*)(sqlite3_stmt*)> statement(raw, sqlite3_finalize);
    if (sqlite3_stmt_readonly(raw) == 0)
      return Error(Errc::kInsufficientPrivilege, "the system catalog cannot be changed");
    for (std::size_t i = 0; i < params.size(); ++i) bind(raw, static_cast<int>(i + 1), params[i]);
    CatalogRows out;
    const int n = sqlite3_column_count(raw);
    for (int c = 0; c < n; ++c) out.names.emplace_back(sqlite3_column_name(raw, c));
    int rc = 0;
    while ((rc = sqlite3_step(raw)) == SQLITE_ROW) {
      auto& row = out.rows.emplace_back();
      for (int c = 0; c < n; ++c) row.push_back(column_value(raw, c));
    }
    if (rc != SQLITE_DONE) return error();
    for (int c = 0; c < n; ++c) out.types.push_back(type_of(raw, c, hints, out.rows));
    return out;
  }

 private:
  Error error() const { return executor::map_sqlite_error(sqlite3_extended_errcode(db_), sqlite3_errmsg(db_)); }
  void exec(const std::string& sql) {
    const int rc = sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr);
    OUTLAST_ASSERT(rc == SQLITE_OK, sqlite3_errmsg(db_));
  }
  Result<void> insert(const CatalogRow& row) {
    std::string names, marks;
    for (const auto& [name, value] : row.values) {
      names += (names.empty() ? "\"" : ", \"") + std::string(name) + "\"";
      marks += marks.empty() ? "?" : ", ?";
    }
    const std::string sql = "INSERT INTO " + std::string(row.schema) + ".\"" + std::string(row.table) + "\"(" + names +
                            ") VALUES (" + marks + ")";
    sqlite3_stmt* raw = nullptr;
    if (sqlite3_prepare_v2(db_, sql.c_str(), -1, &raw, nullptr) != SQLITE_OK) return error();
    for (std::size_t i = 0; i < row.values.size(); ++i) bind(raw, static_cast<int>(i + 1), row.values[i].second);
    const int rc = sqlite3_step(raw);
    sqlite3_finalize(raw);
    if (rc != SQLITE_DONE) return error();
    return {};
  }
  /// The statement's own hint, else the column's declaration, else what the rows hold.
  static PgType type_of(sqlite3_stmt* s, int c, const std::vector<PgType>& hints,
                        const std::vector<std::vector<Value>>& rows) {
    const auto i = static_cast<std::size_t>(c);
    if (i < hints.size() && hints[i].oid != 0) return hints[i];
    if (const char* declared = sqlite3_column_decltype(s, c))
      if (const auto type = type_of_declaration(declared)) return *type;
    for (const auto& row : rows)
      if (!std::holds_alternative<executor::Null>(row[i])) return {type_of_value(row[i]), -1};
    return {};
  }

  sqlite3* db_{nullptr};
  CatalogNames names_;
  std::string list_;
  std::int64_t version_{-1};
};

}  // namespace

std::unique_ptr<Catalog> Catalog::create() {
  return std::make_unique<SqliteCatalog>();
}

SchemaQueries schema_queries() {
  return {.version = "PRAGMA schema_version",
          .objects = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY rowid",
          .columns =
              "SELECT m.name, x.cid, x.name, x.type, x.\"notnull\", x.dflt_value, x.pk FROM sqlite_schema m, "
              "pragma_table_xinfo(m.name) x WHERE m.type IN ('table', 'view') ORDER BY m.rowid, x.cid",
          .indexes =
              "SELECT m.name, l.name, l.\"unique\", l.origin, l.partial FROM sqlite_schema m, "
              "pragma_index_list(m.name) l WHERE m.type = 'table' ORDER BY m.rowid, l.seq",
          .index_columns =
              "SELECT l.name, c.seqno, c.cid, c.name, c.\"desc\" FROM sqlite_schema m, "
              "pragma_index_list(m.name) l, pragma_index_xinfo(l.name) c WHERE m.type = 'table' AND "
              "c.\"key\" = 1 ORDER BY l.name, c.seqno"};
}

}  // namespace outlast::sql
