#include "executor/sqlite_error.h"
#include "sql/translate/translator.h"

namespace outlast::sql {
namespace {
using executor::type_constraint;

std::string declaration(Oid type, std::int32_t typmod) {
  switch (type) {
    case oid::kInt2:
      return "SMALLINT";
    case oid::kInt4:
      return "INT";
    case oid::kInt8:
      return "BIGINT";
    case oid::kFloat4:
      return "REAL";
    case oid::kFloat8:
      return "DOUBLE PRECISION";
    case oid::kBool:
      return "BOOLEAN";
    case oid::kVarchar:
      return typmod < 0 ? "VARCHAR" : "VARCHAR(" + std::to_string(typmod - 4) + ")";
    case oid::kBpchar:
      return typmod < 0 ? "CHAR(1) COLLATE RTRIM" : "CHAR(" + std::to_string(typmod - 4) + ") COLLATE RTRIM";
    case oid::kBytea:
      return "BYTEA BLOB";
    case oid::kDate:
      return "DATE TEXT";
    case oid::kTime:
      return "TIME TEXT";
    case oid::kTimestamp:
      return "TIMESTAMP TEXT";
    case oid::kTimestamptz:
      return "TIMESTAMPTZ TEXT";
    case oid::kUuid:
      return "UUID TEXT";
    case oid::kJson:
      return "JSON TEXT";
    case oid::kJsonb:
      return "JSONB TEXT";
    case oid::kText:
    case oid::kName:
      return "TEXT";
    default:
      return "";
  }
}

std::string check(const std::string& name, const std::string& condition) {
  return " CONSTRAINT " + quote_name(name) + " CHECK (" + condition + ")";
}

}  // namespace

void Translator::check_column_name(const std::string& name, int location) {
  if (name == "rowid" || name == "_rowid_" || name == "oid")
    refuse(Errc::kInsufficientPrivilege, "column name \"" + name + "\" is reserved by Outlast; choose another",
           location);
}

void Translator::check_object_name(const std::string& name, int location) {
  if (name.starts_with("sqlite_") || name.starts_with("outlast_") || name.starts_with("pg_"))
    refuse(Errc::kInsufficientPrivilege,
           "permission denied: names that start with \"" + name.substr(0, name.find('_') + 1) + "\" belong to Outlast",
           location);
}

/// CHECKs that keep PostgreSQL's types in SQLite's columns. The names tell sqlite_error.cc what to say.
std::string Translator::type_checks(const std::string& column, const ResolvedType& type) {
  const std::string c = quote_name(column);
  const std::string name(type_name(type.oid));
  const auto typed = [&](const std::string& condition) {
    return check(type_constraint("type", name, column), c + " IS NULL OR (" + condition + ")");
  };
  const std::string is_text_value = "typeof(" + c + ") = 'text'";
  switch (type.oid) {
    case oid::kInt2:
    case oid::kInt4: {
      const std::string limits = type.oid == oid::kInt2 ? "-32768 AND 32767" : "-2147483648 AND 2147483647";
      return check(type_constraint("type", name, column), "typeof(" + c + ") IN ('integer', 'null')") +
             check(type_constraint("range", name, column), c + " BETWEEN " + limits);
    }
    case oid::kInt8:
      return check(type_constraint("type", name, column), "typeof(" + c + ") IN ('integer', 'null')");
    case oid::kFloat4:
    case oid::kFloat8:
      return check(type_constraint("type", name, column), "typeof(" + c + ") IN ('real', 'null')");
    case oid::kBool:
      return typed("typeof(" + c + ") = 'integer' AND " + c + " IN (0, 1)");
    case oid::kBytea:
      return check(type_constraint("type", name, column), "typeof(" + c + ") IN ('blob', 'null')");
    case oid::kVarchar:
    case oid::kBpchar: {
      std::string sql = check(type_constraint("type", name, column), "typeof(" + c + ") IN ('text', 'null')");
      if (type.typmod > 4 || type.oid == oid::kBpchar) {
        const std::string n = std::to_string(type.typmod < 5 ? 1 : type.typmod - 4);
        // Trailing blanks do not count, as in PostgreSQL.
        sql += check(type_constraint("length", name + "(" + n + ")", column), "length(rtrim(" + c + ", ' ')) <= " + n);
      }
      return sql;
    }
    case oid::kDate:
      return typed(is_text_value + " AND " + c + " IS date(" + c + ", '+0 days')");
    case oid::kTime:
      return typed(is_text_value + " AND " + c + " GLOB '[0-2][0-9]:[0-5][0-9]:[0-5][0-9]*' AND time(substr(" + c +
                   ", 1, 8)) IS substr(" + c + ", 1, 8) AND (length(" + c + ") = 8 OR substr(" + c +
                   ", 9) GLOB '.[0-9]*' AND length(" + c + ") <= 15 AND substr(" + c + ", 10) NOT GLOB '*[^0-9]*')");
    case oid::kTimestamp:
    case oid::kTimestamptz:
      return typed(is_text_value + " AND datetime(substr(" + c + ", 1, 19), '+0 days') IS substr(" + c +
                   ", 1, 19) AND (length(" + c + ") = 19 OR substr(" + c + ", 20) GLOB '.[0-9]*' AND length(" + c +
                   ") <= 26 AND substr(" + c + ", 21) NOT GLOB '*[^0-9]*' AND " + c + " NOT LIKE '%0')");
    case oid::kUuid:
      return typed(is_text_value + " AND length(" + c + ") = 36 AND replace(" + c +
                   ", '-', '') NOT GLOB '*[^0-9a-f]*' AND " + c +
                   " LIKE '________-____-____-____-____________' AND length(replace(" + c + ", '-', '')) = 32");
    case oid::kJson:
    case oid::kJsonb:
      return typed(is_text_value + " AND json_valid(" + c + ")");
    default:
      return check(type_constraint("type", name, column), "typeof(" + c + ") IN ('text', 'null')");
  }
}

std::string Translator::default_value(const Node* value, const ResolvedType& type, const std::string& column) {
  in_ddl_expression_ = in_default_ = sequence_allowed_ = true;
  Expression e = expr(value);
  in_ddl_expression_ = in_default_ = sequence_allowed_ = false;
  if (e.type == oid::kUnknown && e.literal) e = coerce_literal(std::move(e), type.oid, tree::location_of(value->base));
  if (e.type == oid::kTimestamptz && type.oid == oid::kDate) e.sql = "substr(" + e.sql + ", 1, 10)";
  return " DEFAULT (" + e.sql + ")";
}

/// serial and IDENTITY: a default from a sequence that lives in the range, so that a rolled back INSERT leaves no gap.
/// A sequence left behind by a dropped table starts again; one whose table exists (IF NOT EXISTS) goes on.
void Translator::sequence_for(const std::string& table, const std::string& column, std::string& definition) {
  const std::string name = table + "_" + column + "_seq";
  out_.sql.push_back(
      "CREATE TABLE IF NOT EXISTS outlast_sequence(name TEXT PRIMARY KEY, table_name TEXT, value INTEGER NOT "
      "NULL, step INTEGER NOT NULL) WITHOUT ROWID");
  out_.sql.push_back(
      "INSERT INTO outlast_sequence VALUES (" + quote_text(name) + ", " + quote_text(table) +
      ", 0, 1) ON CONFLICT (name) DO UPDATE SET value = 0, table_name = excluded.table_name WHERE NOT EXISTS "
      "(SELECT 1 FROM sqlite_schema WHERE name = outlast_sequence.table_name)");
  definition += " DEFAULT (pg_nextval(" + quote_text(name) + "))";
}

std::string Translator::column_definition(const PgQuery__ColumnDef& column, const std::string& table, bool adding) {
  only(column, {"colname", "type_name", "is_local", "constraints", "coll_clause", "is_not_null"});
  const std::string name = column.colname;
  check_column_name(name, column.location);
  if (column.type_name == nullptr) return refuse(Errc::kSyntax, "a column needs a type"), "";
  const auto type = resolve_type(*column.type_name);
  if (!type) return "";
  if (type->oid == oid::kNumeric)
    refuse(Errc::kUndefinedObject,
           "type \"numeric\" is not supported: Outlast would store it inexactly; use bigint (for example "
           "cents), double precision or text",
           column.type_name->location);
  const std::string declared = declaration(type->oid, type->typmod);
  if (type->array || declared.empty())
    refuse(Errc::kUndefinedObject, "a column cannot have this type in Outlast; use json or text",
           column.type_name->location);
  std::string sql = quote_name(name) + " " + declared;
  bool not_null = type->serial, sequence = type->serial;
  std::string constraints, default_sql;
  for (const Node* node : PG_LIST(&column, constraints)) {
    const auto& c = *node->constraint;
    if (c.contype == PG_QUERY__CONSTR_TYPE__CONSTR_NOTNULL) {
      not_null = true;
    } else if (c.contype == PG_QUERY__CONSTR_TYPE__CONSTR_DEFAULT) {
      only(c, {"contype", "raw_expr"});
      default_sql = default_value(c.raw_expr, *type, name);
      if (type->serial)
        refuse(Errc::kSyntax, "multiple default values specified for column \"" + name + "\"", c.location);
    } else if (c.contype == PG_QUERY__CONSTR_TYPE__CONSTR_IDENTITY) {
      only(c, {"contype", "generated_when"});
      sequence = not_null = true;
    } else {
      if (c.contype == PG_QUERY__CONSTR_TYPE__CONSTR_PRIMARY) not_null = true;
      constraints += column_constraint(c, name, table);
    }
  }
  if (sequence && adding)
    refuse(Errc::kSyntax, "a serial column cannot be added later; create a new table", column.location);
  if (sequence) sequence_for(table, name, default_sql);
  return sql + default_sql + (not_null ? " NOT NULL" : "") + constraints + type_checks(name, *type);
}

std::string Translator::column_constraint(const PgQuery__Constraint& c, const std::string& column,
                                          const std::string& table) {
  const std::string named = *c.conname != 0 ? " CONSTRAINT " + quote_name(c.conname) : "";
  if (named.find("\"pg_") != std::string::npos) check_object_name(c.conname, c.location);
  switch (c.contype) {
    case PG_QUERY__CONSTR_TYPE__CONSTR_NULL:
      return "";
    case PG_QUERY__CONSTR_TYPE__CONSTR_PRIMARY:
      only(c, {"contype", "conname", "options", "initially_valid"});
      return named + " PRIMARY KEY";
    case PG_QUERY__CONSTR_TYPE__CONSTR_UNIQUE:
      only(c, {"contype", "conname", "options", "initially_valid"});
      return named + " UNIQUE";
    case PG_QUERY__CONSTR_TYPE__CONSTR_CHECK: {
      only(c, {"contype", "conname", "raw_expr", "initially_valid"});
      in_ddl_expression_ = true;
      const std::string sql = condition(c.raw_expr, "CHECK");
      in_ddl_expression_ = false;
      const std::string name = *c.conname != 0 ? c.conname : table + "_" + column + "_check";
      return " CONSTRAINT " + quote_name(name) + " CHECK (" + sql + ")";
    }
    case PG_QUERY__CONSTR_TYPE__CONSTR_FOREIGN:
      return named + references(c);
    default:
      break;
  }
  refuse(Errc::kSyntax, "this column constraint is not supported", c.location);
  return "";
}

std::string Translator::references(const PgQuery__Constraint& c) {
  only(c, {"contype", "conname", "pktable", "fk_attrs", "pk_attrs", "fk_matchtype", "fk_upd_action", "fk_del_action",
           "initially_valid"});
  std::string sql = " REFERENCES " + table_name(*c.pktable, false);
  std::vector<std::string> keys;
  for (const auto& name : tree::strings(PG_LIST(&c, pk_attrs))) keys.push_back(quote_name(name));
  if (!keys.empty()) sql += " (" + join_list(keys, ", ") + ")";
  if (*c.fk_matchtype != 's' && *c.fk_matchtype != 0)
    refuse(Errc::kSyntax, "only MATCH SIMPLE is supported", c.location);
  const auto action = [&](const char* code, std::string_view when) {
    const std::string_view text = *code == 'c'   ? "CASCADE"
                                  : *code == 'n' ? "SET NULL"
                                  : *code == 'd' ? "SET DEFAULT"
                                  : *code == 'r' ? "RESTRICT"
                                                 : "";
    if (!text.empty()) sql += " ON " + std::string(when) + " " + std::string(text);
  };
  action(c.fk_upd_action, "UPDATE");
  action(c.fk_del_action, "DELETE");
  return sql;
}

std::string Translator::table_constraint(const PgQuery__Constraint& c, const std::string& table,
                                         std::vector<std::string>& keys) {
  const std::string named = *c.conname != 0 ? "CONSTRAINT " + quote_name(c.conname) + " " : "";
  std::vector<std::string> names;
  const auto list = c.contype == PG_QUERY__CONSTR_TYPE__CONSTR_FOREIGN ? PG_LIST(&c, fk_attrs) : PG_LIST(&c, keys);
  for (const auto& name : tree::strings(list)) names.push_back(quote_name(name));
  switch (c.contype) {
    case PG_QUERY__CONSTR_TYPE__CONSTR_PRIMARY:
      only(c, {"contype", "conname", "keys", "options", "initially_valid"});
      for (const auto& name : tree::strings(PG_LIST(&c, keys))) keys.push_back(name);
      return named + "PRIMARY KEY (" + join_list(names, ", ") + ")";
    case PG_QUERY__CONSTR_TYPE__CONSTR_UNIQUE:
      only(c, {"contype", "conname", "keys", "options", "initially_valid"});
      return named + "UNIQUE (" + join_list(names, ", ") + ")";
    case PG_QUERY__CONSTR_TYPE__CONSTR_CHECK: {
      only(c, {"contype", "conname", "raw_expr", "initially_valid"});
      in_ddl_expression_ = true;
      const std::string sql = condition(c.raw_expr, "CHECK");
      in_ddl_expression_ = false;
      const std::string name = *c.conname != 0 ? c.conname : table + "_check";
      return "CONSTRAINT " + quote_name(name) + " CHECK (" + sql + ")";
    }
    case PG_QUERY__CONSTR_TYPE__CONSTR_FOREIGN:
      return named + "FOREIGN KEY (" + join_list(names, ", ") + ")" + references(c);
    default:
      break;
  }
  refuse(Errc::kSyntax, "this table constraint is not supported", c.location);
  return "";
}

void Translator::create_table(const PgQuery__CreateStmt& stmt) {
  only(stmt, {"relation", "table_elts", "options", "oncommit", "if_not_exists"});
  const std::string table = table_name(*stmt.relation, false);
  const std::string name = stmt.relation->relname;
  std::vector<std::string> columns, constraints, keys;
  std::set<std::string> seen;
  for (const Node* node : PG_LIST(&stmt, table_elts))  // PRIMARY KEY columns are NOT NULL, which SQLite does not imply
    if (node->node_case == PG_NODE(CONSTRAINT)) constraints.push_back(table_constraint(*node->constraint, name, keys));
  for (const Node* node : PG_LIST(&stmt, table_elts)) {
    if (node->node_case == PG_NODE(CONSTRAINT)) continue;
    if (node->node_case != PG_NODE(COLUMN_DEF)) {
      refuse_node(node, "CREATE TABLE");
      return;
    }
    const auto& column = *node->column_def;
    if (!seen.insert(column.colname).second)
      refuse(Errc::kDuplicateColumn, std::string("column \"") + column.colname + "\" specified more than once",
             column.location);
    std::string sql = column_definition(column, name, false);
    for (const auto& key : keys)
      if (key == column.colname)
        sql += check(executor::type_constraint("null", "key", key), quote_name(key) + " IS NOT NULL");
    columns.push_back(std::move(sql));
  }
  if (columns.empty()) refuse(Errc::kSyntax, "a table needs at least one column");
  for (const auto& key : keys)
    if (!seen.contains(key)) refuse(Errc::kUndefinedColumn, "column \"" + key + "\" named in key does not exist");
  columns.insert(columns.end(), constraints.begin(), constraints.end());
  out_.sql.push_back(std::string("CREATE TABLE ") + (stmt.if_not_exists ? "IF NOT EXISTS " : "") + table + " (" +
                     join_list(columns, ", ") + ")");
  out_.kind = StatementKind::kDdl, out_.tag = "CREATE TABLE", out_.if_not_exists = stmt.if_not_exists, out_.name = name;
}

/// Only with columns whose types the statement tells: SQLite's own CREATE TABLE AS would forget them.
void Translator::create_table_as(const PgQuery__CreateTableAsStmt& stmt) {
  only(stmt, {"query", "into", "objtype", "if_not_exists"});
  if (stmt.objtype != PG_QUERY__OBJECT_TYPE__OBJECT_TABLE)
    return refuse(Errc::kSyntax, "materialized views are not supported; use CREATE TABLE AS");
  only(*stmt.into, {"rel", "col_names", "options", "on_commit", "skip_data"});
  const std::string table = table_name(*stmt.into->rel, false);
  const Selected rows = query(stmt.query);
  const auto names = tree::strings(PG_LIST(stmt.into, col_names));
  if (failed()) return;
  std::vector<std::string> columns;
  for (std::size_t i = 0; i < rows.columns.size(); ++i) {
    const Oid type = rows.columns[i].type == oid::kUnknown   ? oid::kText
                     : rows.columns[i].type == oid::kNumeric ? oid::kFloat8
                                                             : rows.columns[i].type;
    const std::string name = i < names.size() ? names[i] : rows.names[i];
    const std::string declared = declaration(type, rows.columns[i].typmod);
    check_column_name(name, -1);
    if (declared.empty() || !rows.columns_known)
      return refuse(Errc::kUndefinedObject,
                    "CREATE TABLE AS needs a cast for column \"" + name + "\" so that its type is known");
    columns.push_back(quote_name(name) + " " + declared +
                      type_checks(name, {.oid = type, .typmod = rows.columns[i].typmod}));
  }
  if (!rows.columns_known)
    return refuse(Errc::kUndefinedObject, "CREATE TABLE AS needs its columns named, with casts; not \"*\"");
  if (stmt.if_not_exists)
    return refuse(Errc::kSyntax, "CREATE TABLE IF NOT EXISTS … AS is not supported; drop the table first");
  out_.sql.push_back("CREATE TABLE " + table + " (" + join_list(columns, ", ") + ")");
  if (!stmt.into->skip_data) out_.sql.push_back("INSERT INTO " + table + " " + rows.sql);
  out_.kind = StatementKind::kDdl, out_.tag = "SELECT", out_.name = stmt.into->rel->relname;
}

void Translator::create_index(const PgQuery__IndexStmt& stmt) {
  only(stmt, {"idxname", "relation", "access_method", "index_params", "options", "where_clause", "unique", "concurrent",
              "if_not_exists"});
  if (std::string_view(stmt.access_method) != "btree")
    return refuse(Errc::kUndefinedObject,
                  std::string("access method \"") + stmt.access_method + "\" does not exist; use btree");
  const std::string table = table_name(*stmt.relation, false);
  std::vector<std::string> parts;
  std::string generated = stmt.relation->relname;
  in_ddl_expression_ = true;
  for (const Node* node : PG_LIST(&stmt, index_params)) {
    const auto& element = *node->index_elem;
    only(element, {"name", "expr", "ordering", "nulls_ordering", "opclass", "collation"});
    std::string sql = element.expr != nullptr ? expr(element.expr).sql : quote_name(element.name);
    generated += "_" + std::string(element.expr != nullptr ? "expr" : element.name);
    if (element.ordering == PG_QUERY__SORT_BY_DIR__SORTBY_DESC) sql += " DESC";
    parts.push_back(std::move(sql));
  }
  const std::string where = stmt.where_clause != nullptr ? " WHERE " + condition(stmt.where_clause, "WHERE") : "";
  in_ddl_expression_ = false;
  const std::string name = *stmt.idxname != 0 ? stmt.idxname : generated + "_idx";
  check_object_name(name, -1);
  out_.sql.push_back(std::string("CREATE ") + (stmt.unique ? "UNIQUE " : "") + "INDEX " +
                     (stmt.if_not_exists ? "IF NOT EXISTS " : "") + quote_name(name) + " ON " + table + " (" +
                     join_list(parts, ", ") + ")" + where);
  out_.kind = StatementKind::kDdl, out_.tag = "CREATE INDEX", out_.name = name, out_.if_not_exists = stmt.if_not_exists;
}

void Translator::create_view(const PgQuery__ViewStmt& stmt) {
  only(stmt, {"view", "aliases", "query", "replace", "with_check_option"});
  if (stmt.with_check_option != PG_QUERY__VIEW_CHECK_OPTION__NO_CHECK_OPTION)
    return refuse(Errc::kSyntax, "WITH CHECK OPTION is not supported; views are read-only");
  const std::string view = table_name(*stmt.view, false);
  std::vector<std::string> names;
  for (const auto& name : tree::strings(PG_LIST(&stmt, aliases))) names.push_back(quote_name(name));
  in_view_ = true;
  const Selected body = query(stmt.query);
  in_view_ = false;
  if (!parameters_.empty()) refuse(Errc::kSyntax, "there is no parameter in a view; write the value");
  if (reads_catalog_) refuse(Errc::kSyntax, "a view over the system catalog is not supported");
  if (stmt.replace) out_.sql.push_back("DROP VIEW IF EXISTS " + view);
  out_.sql.push_back("CREATE VIEW " + view + (names.empty() ? "" : "(" + join_list(names, ", ") + ")") + " AS " +
                     body.sql);
  out_.kind = StatementKind::kDdl, out_.tag = "CREATE VIEW", out_.name = stmt.view->relname;
}

void Translator::create_sequence(const PgQuery__CreateSeqStmt& stmt) {
  only(stmt, {"sequence", "options", "if_not_exists"});
  table_name(*stmt.sequence, false);
  std::int64_t start = 1, step = 1;
  for (const Node* node : PG_LIST(&stmt, options)) {
    const auto& option = *node->def_elem;
    const std::string name = option.defname;
    const auto number = [&](std::int64_t& out) {
      if (option.arg != nullptr && option.arg->node_case == PG_NODE(INTEGER))
        out = option.arg->integer->ival;
      else
        refuse(Errc::kSyntax, "sequence options are integers of 32 bits here", option.location);
    };
    if (name == "start")
      number(start);
    else if (name == "increment")
      number(step);
    else
      refuse(Errc::kSyntax, "sequence option " + name + " is not supported; START and INCREMENT are", option.location);
  }
  const std::string name = stmt.sequence->relname;
  out_.sql.push_back(
      "CREATE TABLE IF NOT EXISTS outlast_sequence(name TEXT PRIMARY KEY, table_name TEXT, value INTEGER NOT "
      "NULL, step INTEGER NOT NULL) WITHOUT ROWID");
  out_.sql.push_back("INSERT INTO outlast_sequence VALUES (" + quote_text(name) + ", NULL, " +
                     std::to_string(start - step) + ", " + std::to_string(step) + ")" +
                     (stmt.if_not_exists ? " ON CONFLICT (name) DO NOTHING" : ""));
  out_.kind = StatementKind::kDdl, out_.tag = "CREATE SEQUENCE", out_.name = name,
  out_.if_not_exists = stmt.if_not_exists;
}

}  // namespace outlast::sql
