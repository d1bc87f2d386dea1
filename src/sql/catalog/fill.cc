#include "sql/catalog/fill.h"

#include <map>

#include "sql/catalog/checks.h"

namespace outlast::sql {
namespace {
using executor::Null;
using executor::Value;
using Row = std::vector<Value>;

constexpr std::int64_t kPgCatalog = 11, kPublic = 2200, kInformation = 13000, kOwner = 10, kFirstOid = 16384;

std::string text(const Value& v) {
  const auto* s = std::get_if<std::string>(&v);
  return s == nullptr ? "" : *s;
}
std::int64_t number(const Value& v) {
  const auto* n = std::get_if<std::int64_t>(&v);
  return n == nullptr ? 0 : *n;
}
Value b(bool v) {
  return static_cast<std::int64_t>(v);
}
Value n(std::int64_t v) {
  return v;
}
Value t(std::string v) {
  return v;
}
bool hidden(const std::string& name) {
  return name.starts_with("sqlite_") || name.starts_with("outlast_");
}

/// Collects rows while it walks the snapshot.
class Filler {
 public:
  Filler(const SchemaSnapshot& schema, const CatalogNames& names) : schema_(schema), names_(names) {}
  std::vector<CatalogRow> take() { return std::move(rows_); }

  void fixed(const std::vector<gateway::DatabaseRow>& databases) {
    const std::pair<std::int64_t, const char*> spaces[] = {
        {kPgCatalog, "pg_catalog"}, {kPublic, "public"}, {kInformation, "information_schema"}};
    for (const auto& [oid, name] : spaces) {
      add("pg_namespace", {{"oid", n(oid)}, {"nspname", t(name)}, {"nspowner", n(kOwner)}});
      rows_.push_back(
          {"information_schema",
           "schemata",
           {{"catalog_name", t(names_.database)}, {"schema_name", t(name)}, {"schema_owner", t(names_.user)}}});
    }
    add("pg_am", {{"oid", n(2)}, {"amname", t("heap")}, {"amtype", t("t")}});
    add("pg_am", {{"oid", n(403)}, {"amname", t("btree")}, {"amtype", t("i")}});
    add("pg_tablespace", {{"oid", n(1663)}, {"spcname", t("pg_default")}, {"spcowner", n(kOwner)}});
    add("pg_collation", {{"oid", n(950)}, {"collname", t("C")}, {"collnamespace", n(kPgCatalog)}});
    add("pg_roles", {{"oid", n(kOwner)},
                     {"rolname", t(names_.user)},
                     {"rolsuper", b(true)},
                     {"rolinherit", b(true)},
                     {"rolcreaterole", b(true)},
                     {"rolcreatedb", b(true)},
                     {"rolcanlogin", b(true)},
                     {"rolreplication", b(false)},
                     {"rolconnlimit", n(-1)},
                     {"rolbypassrls", b(true)}});
    for (const auto& row : databases)
      add("pg_database", {{"oid", n(static_cast<std::int64_t>(row.id.value) + kFirstOid)},
                          {"datname", t(row.name)},
                          {"datdba", n(kOwner)},
                          {"encoding", n(6)},
                          {"datlocprovider", t("c")},
                          {"datistemplate", b(false)},
                          {"datallowconn", b(true)},
                          {"datconnlimit", n(-1)},
                          {"datcollate", t("C")},
                          {"datctype", t("C")},
                          {"dattablespace", n(1663)}});
    for (const Oid type :
         {oid::kBool, oid::kBytea, oid::kChar,      oid::kName,        oid::kInt8,    oid::kInt2,   oid::kInt4,
          oid::kText, oid::kOid,   oid::kJson,      oid::kFloat4,      oid::kFloat8,  oid::kBpchar, oid::kVarchar,
          oid::kDate, oid::kTime,  oid::kTimestamp, oid::kTimestamptz, oid::kNumeric, oid::kUuid,   oid::kJsonb})
      add("pg_type",
          {{"oid", n(type)},
           {"typname", t(short_name(type))},
           {"typnamespace", n(kPgCatalog)},
           {"typowner", n(kOwner)},
           {"typlen", n(type_length(type))},
           {"typtype", t("b")},
           {"typcategory", t("U")},
           {"typisdefined", b(true)},
           {"typdelim", t(",")},
           {"typrelid", n(0)},
           {"typelem", n(0)},
           {"typarray", n(0)},
           {"typbasetype", n(0)},
           {"typtypmod", n(-1)},
           {"typcollation", n(type == oid::kText || type == oid::kVarchar || type == oid::kBpchar ? 100 : 0)}});
  }

  void relations() {
    for (std::size_t i = 0; i < schema_.objects.size(); ++i) {
      const std::string kind = text(schema_.objects[i][0]), name = text(schema_.objects[i][1]);
      oids_[name] = kFirstOid + static_cast<std::int64_t>(i) * 4;
      if (hidden(name) || (kind != "table" && kind != "view")) continue;
      relation(name, kind == "table" ? "r" : "v", text(schema_.objects[i][3]));
    }
    for (const Row& column : schema_.columns)
      if (!hidden(text(column[0]))) attribute(column);
    for (const Row& index : schema_.indexes)
      if (!hidden(text(index[0]))) add_index(index);
  }

 private:
  void add(std::string_view table, std::vector<std::pair<std::string_view, Value>> values) {
    rows_.push_back({"pg_catalog", table, std::move(values)});
  }

  static std::string short_name(Oid type) {
    static const std::map<Oid, const char*> kNames = {
        {oid::kBool, "bool"},     {oid::kChar, "char"},           {oid::kInt8, "int8"},
        {oid::kInt2, "int2"},     {oid::kInt4, "int4"},           {oid::kFloat4, "float4"},
        {oid::kFloat8, "float8"}, {oid::kBpchar, "bpchar"},       {oid::kVarchar, "varchar"},
        {oid::kTime, "time"},     {oid::kTimestamp, "timestamp"}, {oid::kTimestamptz, "timestamptz"}};
    const auto found = kNames.find(type);
    return found == kNames.end() ? std::string(type_name(type)) : found->second;
  }

  void class_row(const std::string& name, std::int64_t oid, const char* kind, bool has_index, std::int64_t columns,
                 std::size_t checks = 0) {
    add("pg_class", {{"oid", n(oid)},
                     {"relname", t(name)},
                     {"relnamespace", n(kPublic)},
                     {"reltype", n(0)},
                     {"reloftype", n(0)},
                     {"relowner", n(kOwner)},
                     {"relam", n(*kind == 'r'   ? 2
                                 : *kind == 'i' ? 403
                                                : 0)},
                     {"relfilenode", n(oid)},
                     {"reltablespace", n(0)},
                     {"relpages", n(0)},
                     {"reltuples", -1.0},
                     {"relallvisible", n(0)},
                     {"reltoastrelid", n(0)},
                     {"relhasindex", b(has_index)},
                     {"relisshared", b(false)},
                     {"relpersistence", t("p")},
                     {"relkind", t(kind)},
                     {"relnatts", n(columns)},
                     {"relchecks", n(static_cast<std::int64_t>(checks))},
                     {"relhasrules", b(false)},
                     {"relhastriggers", b(false)},
                     {"relhassubclass", b(false)},
                     {"relrowsecurity", b(false)},
                     {"relforcerowsecurity", b(false)},
                     {"relispopulated", b(true)},
                     {"relreplident", t("d")},
                     {"relispartition", b(false)}});
  }

  void relation(const std::string& name, const char* kind, const std::string& sql) {
    bool has_index = false;
    for (const Row& index : schema_.indexes) has_index = has_index || text(index[0]) == name;
    std::int64_t columns = 0;
    for (const Row& column : schema_.columns) columns += text(column[0]) == name;
    const bool table = *kind == 'r';
    const std::vector<CheckConstraint> checks = table ? check_constraints(sql) : std::vector<CheckConstraint>();
    class_row(name, oids_[name], kind, has_index, columns, checks.size());
    for (const CheckConstraint& check : checks) constraint(name, check.name, "c", 0, check.definition);
    rows_.push_back({"information_schema",
                     "tables",
                     {{"table_catalog", t(names_.database)},
                      {"table_schema", t("public")},
                      {"table_name", t(name)},
                      {"table_type", t(table ? "BASE TABLE" : "VIEW")},
                      {"is_insertable_into", t(table ? "YES" : "NO")}}});
    if (table) {
      add("pg_tables", {{"schemaname", t("public")},
                        {"tablename", t(name)},
                        {"tableowner", t(names_.user)},
                        {"hasindexes", b(has_index)}});
    } else {
      const auto body = sql.find(" AS ");
      const std::string definition = body == std::string::npos ? sql : sql.substr(body + 4);
      add("pg_views", {{"schemaname", t("public")},
                       {"viewname", t(name)},
                       {"viewowner", t(names_.user)},
                       {"definition", t(definition)}});
      add("outlast_definition", {{"outlast_oid", n(oids_[name])}, {"indexdef", t(definition)}});
    }
  }

  /// name, cid, column, type, notnull, default, pk
  void attribute(const Row& column) {
    const std::string table = text(column[0]);
    const PgType type = type_of_declaration(without_collation(text(column[3]))).value_or(PgType{});
    const bool has_default = !std::holds_alternative<Null>(column[5]);
    const std::int64_t number_of = number(column[1]) + 1;
    const bool not_null = number(column[4]) != 0 || number(column[6]) != 0 || primary_of(table, text(column[2]));
    const bool is_text = type.oid == oid::kText || type.oid == oid::kVarchar || type.oid == oid::kBpchar;
    add("pg_attribute", {{"attrelid", n(oids_[table])},
                         {"attname", column[2]},
                         {"atttypid", n(type.oid)},
                         {"attlen", n(type_length(type.oid))},
                         {"attnum", n(number_of)},
                         {"atttypmod", n(type.typmod)},
                         {"attnotnull", b(not_null)},
                         {"atthasdef", b(has_default)},
                         {"atthasmissing", b(false)},
                         {"attidentity", t("")},
                         {"attgenerated", t("")},
                         {"attisdropped", b(false)},
                         {"attislocal", b(true)},
                         {"attinhcount", n(0)},
                         {"attndims", n(0)},
                         {"attcollation", n(is_text ? 100 : 0)},
                         {"attstorage", t("p")},
                         {"attcompression", t("")},
                         {"attstattarget", n(-1)}});
    const Value shown = has_default ? t(default_text(text(column[5]), type.oid)) : Value(Null{});
    if (has_default)
      add("pg_attrdef", {{"oid", n(next_++)}, {"adrelid", n(oids_[table])}, {"adnum", n(number_of)}, {"adbin", shown}});
    const bool sized = type.typmod > 4 && is_text;
    rows_.push_back({"information_schema",
                     "columns",
                     {{"table_catalog", t(names_.database)},
                      {"table_schema", t("public")},
                      {"table_name", t(table)},
                      {"column_name", column[2]},
                      {"ordinal_position", n(number_of)},
                      {"column_default", shown},
                      {"is_nullable", t(not_null ? "NO" : "YES")},
                      {"data_type", t(std::string(type_name(type.oid)))},
                      {"character_maximum_length", sized ? n(type.typmod - 4) : Value(Null{})},
                      {"udt_name", t(short_name(type.oid))}}});
  }

  static std::string without_collation(const std::string& type) { return type.substr(0, type.find(" COLLATE")); }

  /// "(pg_nextval('t_id_seq'))" as PostgreSQL would show it.
  static std::string default_text(std::string sql, Oid type) {
    if (type == oid::kBool && (sql == "1" || sql == "0")) return sql == "1" ? "true" : "false";
    if (const auto at = sql.find("pg_nextval('"); at != std::string::npos) {
      const auto end = sql.find('\'', at + 12);
      return "nextval('" + sql.substr(at + 12, end - at - 12) + "'::regclass)";
    }
    if (sql == "pg_now()" || sql == "(pg_now())") return "now()";
    return sql;
  }

  bool is_primary(const std::string& index, const std::string& origin) const {
    if (origin == "pk") return true;
    return definition_of(index).ends_with("/* primary key */");
  }
  std::string definition_of(const std::string& name) const {
    for (const Row& object : schema_.objects)
      if (text(object[1]) == name) return text(object[3]);
    return "";
  }
  bool primary_of(const std::string& table, const std::string& column) const {
    for (const Row& index : schema_.indexes) {
      if (text(index[0]) != table || !is_primary(text(index[1]), text(index[3]))) continue;
      for (const Row& c : schema_.index_columns)
        if (text(c[0]) == text(index[1]) && text(c[3]) == column) return true;
    }
    return false;
  }

  /// table, index, unique, origin, partial
  void add_index(const Row& index) {
    const std::string table = text(index[0]), internal = text(index[1]), sql = definition_of(internal);
    const bool primary = is_primary(internal, text(index[3]));
    const bool is_constraint = primary || text(index[3]) == "u" || sql.ends_with("/* unique constraint */");
    std::string list, keys, generated = table;
    std::int64_t columns = 0;
    for (const Row& c : schema_.index_columns) {
      if (text(c[0]) != internal) continue;
      const std::string name = std::holds_alternative<Null>(c[3]) ? "(expression)" : text(c[3]);
      list += (list.empty() ? "" : ", ") + name + (number(c[4]) != 0 ? " DESC" : "");
      keys += (keys.empty() ? "" : " ") + std::to_string(number(c[1 + 1]) + 1);
      generated += primary ? "" : "_" + name;
      ++columns;
    }
    // An index that SQLite made for a constraint has no name of its own: show the one PostgreSQL would give it.
    const std::string name =
        internal.starts_with("sqlite_autoindex") ? generated + (primary ? "_pkey" : "_key") : internal;
    const std::int64_t oid = oids_.contains(internal) ? oids_[internal] : next_++;
    class_row(name, oid, "i", false, columns);
    const bool unique = number(index[2]) != 0;
    std::string definition = std::string("CREATE ") + (unique ? "UNIQUE " : "") + "INDEX " + name + " ON public." +
                             table + " USING btree (" + list + ")";
    if (const auto where = sql.find(" WHERE "); number(index[4]) != 0 && where != std::string::npos)
      definition += sql.substr(where);
    add("outlast_definition", {{"outlast_oid", n(oid)}, {"indexdef", t(definition)}});
    add("pg_indexes",
        {{"schemaname", t("public")}, {"tablename", t(table)}, {"indexname", t(name)}, {"indexdef", t(definition)}});
    add("pg_index", {{"indexrelid", n(oid)},
                     {"indrelid", n(oids_[table])},
                     {"indnatts", n(columns)},
                     {"indnkeyatts", n(columns)},
                     {"indisunique", b(unique)},
                     {"indnullsnotdistinct", b(false)},
                     {"indisprimary", b(primary)},
                     {"indisexclusion", b(false)},
                     {"indimmediate", b(true)},
                     {"indisclustered", b(false)},
                     {"indisvalid", b(true)},
                     {"indisready", b(true)},
                     {"indislive", b(true)},
                     {"indisreplident", b(false)},
                     {"indkey", t(keys)}});
    if (!is_constraint) return;
    constraint(table, name, primary ? "p" : "u", oid, (primary ? "PRIMARY KEY (" : "UNIQUE (") + list + ")");
  }

  /// `type`: p, u or c as in pg_constraint; `index`: 0 without one.
  void constraint(const std::string& table, const std::string& name, std::string_view type, std::int64_t index,
                  const std::string& definition) {
    const std::int64_t id = next_++;
    add("pg_constraint", {{"oid", n(id)},
                          {"conname", t(name)},
                          {"connamespace", n(kPublic)},
                          {"contype", t(std::string(type))},
                          {"condeferrable", b(false)},
                          {"condeferred", b(false)},
                          {"convalidated", b(true)},
                          {"conrelid", n(oids_[table])},
                          {"conindid", n(index)},
                          {"conparentid", n(0)},
                          {"confrelid", n(0)}});
    add("outlast_definition", {{"outlast_oid", n(id)}, {"indexdef", t(definition)}});
    rows_.push_back({"information_schema",
                     "table_constraints",
                     {{"constraint_schema", t("public")},
                      {"constraint_name", t(name)},
                      {"table_schema", t("public")},
                      {"table_name", t(table)},
                      {"constraint_type", t(type == "p"   ? "PRIMARY KEY"
                                            : type == "u" ? "UNIQUE"
                                                          : "CHECK")}}});
  }

  const SchemaSnapshot& schema_;
  const CatalogNames& names_;
  std::vector<CatalogRow> rows_;
  std::map<std::string, std::int64_t> oids_;
  std::int64_t next_{1'000'000};
};

}  // namespace

std::vector<CatalogRow> catalog_rows(const SchemaSnapshot& schema, const CatalogNames& names,
                                     const std::vector<gateway::DatabaseRow>& databases) {
  Filler filler(schema, names);
  filler.fixed(databases);
  filler.relations();
  return filler.take();
}

}  // namespace outlast::sql
