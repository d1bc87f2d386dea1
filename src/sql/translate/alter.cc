#include "sql/translate/translator.h"

namespace outlast::sql {
namespace {
using tree::Node;

/// {"public", "t"} → "t"; the last name of a DROP or RENAME object.
std::string object_name(const Node* node) {
  if (node->node_case == PG_NODE(LIST)) {
    const auto names = tree::strings(PG_LIST(node->list, items));
    return names.empty() ? "" : names.back();
  }
  return node->node_case == PG_NODE(STRING) ? node->string->sval : "";
}

bool foreign_schema(const Node* node) {
  if (node->node_case != PG_NODE(LIST)) return false;
  const auto names = tree::strings(PG_LIST(node->list, items));
  return names.size() > 1 && names[names.size() - 2] != "public";
}

}  // namespace

void Translator::drop(const PgQuery__DropStmt& stmt) {
  only(stmt, {"objects", "remove_type", "behavior", "missing_ok", "concurrent"});
  std::string_view word;
  switch (stmt.remove_type) {
    case PG_QUERY__OBJECT_TYPE__OBJECT_TABLE:
      word = "TABLE";
      break;
    case PG_QUERY__OBJECT_TYPE__OBJECT_VIEW:
      word = "VIEW";
      break;
    case PG_QUERY__OBJECT_TYPE__OBJECT_INDEX:
      word = "INDEX";
      break;
    case PG_QUERY__OBJECT_TYPE__OBJECT_SEQUENCE:
      word = "SEQUENCE";
      break;
    default:
      return refuse(Errc::kUndefinedObject,
                    "Outlast has no objects of this kind; tables, views, indexes and sequences can be dropped");
  }
  const std::string exists = stmt.missing_ok ? "IF EXISTS " : "";
  for (const Node* node : PG_LIST(&stmt, objects)) {
    const std::string name = object_name(node);
    if (foreign_schema(node)) refuse(Errc::kUndefinedTable, "only schema \"public\" exists");
    check_object_name(name, -1);
    if (word == "SEQUENCE") {
      out_.sql.push_back("DELETE FROM outlast_sequence WHERE name = " + quote_text(name) + " AND table_name IS NULL");
    } else {
      // ADD PRIMARY KEY leaves an index of its own, which goes with its table.
      out_.sql.push_back("DROP " + std::string(word) + " " + exists + quote_name(name));
    }
    out_.dropped.push_back(name);
  }
  out_.kind = StatementKind::kDdl, out_.tag = "DROP " + std::string(word), out_.if_exists = stmt.missing_ok;
  if (stmt.n_objects == 1) out_.name = object_name(stmt.objects[0]);
}

void Translator::truncate(const PgQuery__TruncateStmt& stmt) {
  only(stmt, {"relations", "restart_seqs", "behavior"});
  for (const Node* node : PG_LIST(&stmt, relations)) {
    const std::string table = table_name(*node->range_var, false);
    out_.sql.push_back("DELETE FROM " + table);
    if (stmt.restart_seqs)
      out_.sql.push_back("UPDATE outlast_sequence SET value = 0 WHERE table_name = " +
                         quote_text(node->range_var->relname));
  }
  out_.kind = StatementKind::kDdl, out_.tag = "TRUNCATE TABLE";
}

void Translator::alter_table(const PgQuery__AlterTableStmt& stmt) {
  only(stmt, {"relation", "cmds", "objtype", "missing_ok"});
  if (stmt.objtype != PG_QUERY__OBJECT_TYPE__OBJECT_TABLE)
    return refuse(Errc::kSyntax, "only tables can be altered; drop and create the object again");
  if (stmt.missing_ok) return refuse(Errc::kSyntax, "ALTER TABLE IF EXISTS is not supported");
  table_name(*stmt.relation, false);
  for (const Node* node : PG_LIST(&stmt, cmds)) alter_command(*node->alter_table_cmd, stmt.relation->relname);
  out_.kind = out_.sql.empty() ? StatementKind::kNothing : StatementKind::kDdl;
  out_.tag = "ALTER TABLE", out_.name = stmt.relation->relname;
}

void Translator::alter_command(const PgQuery__AlterTableCmd& cmd, const std::string& table) {
  only(cmd, {"subtype", "name", "def", "behavior", "missing_ok", "newowner", "recurse"});
  const std::string alter = "ALTER TABLE " + quote_name(table);
  switch (cmd.subtype) {
    case PG_QUERY__ALTER_TABLE_TYPE__AT_AddColumn:
      if (cmd.missing_ok) return refuse(Errc::kSyntax, "ADD COLUMN IF NOT EXISTS is not supported");
      out_.sql.push_back(alter + " ADD COLUMN " + column_definition(*cmd.def->column_def, table, true));
      return;
    case PG_QUERY__ALTER_TABLE_TYPE__AT_DropColumn:
      if (cmd.missing_ok) return refuse(Errc::kSyntax, "DROP COLUMN IF EXISTS is not supported");
      // SQLite drops a column's own CHECKs with it.
      out_.sql.push_back(alter + " DROP COLUMN " + quote_name(cmd.name));
      return;
    case PG_QUERY__ALTER_TABLE_TYPE__AT_AddConstraint:
      return add_constraint(*cmd.def->constraint, table);
    case PG_QUERY__ALTER_TABLE_TYPE__AT_ChangeOwner:
    case PG_QUERY__ALTER_TABLE_TYPE__AT_SetStatistics:
    case PG_QUERY__ALTER_TABLE_TYPE__AT_SetRelOptions:
    case PG_QUERY__ALTER_TABLE_TYPE__AT_ResetRelOptions:
    case PG_QUERY__ALTER_TABLE_TYPE__AT_SetStorage:
      return;  // nothing of it exists here
    default:
      break;
  }
  refuse(Errc::kSyntax,
         "this ALTER TABLE is not supported: columns can be added, dropped and renamed, keys added; for "
         "anything else create a new table and copy the rows");
}

/// ADD PRIMARY KEY becomes a unique index named as PostgreSQL names it, and triggers that refuse NULL.
void Translator::add_constraint(const PgQuery__Constraint& c, const std::string& table) {
  const bool primary = c.contype == PG_QUERY__CONSTR_TYPE__CONSTR_PRIMARY;
  if (!primary && c.contype != PG_QUERY__CONSTR_TYPE__CONSTR_UNIQUE)
    return refuse(Errc::kSyntax,
                  c.contype == PG_QUERY__CONSTR_TYPE__CONSTR_FOREIGN
                      ? "a foreign key cannot be added to an existing table; write REFERENCES in CREATE TABLE"
                      : "this constraint cannot be added to an existing table; write it in CREATE TABLE",
                  c.location);
  only(c, {"contype", "conname", "keys", "options", "initially_valid"});
  std::vector<std::string> names, plain = tree::strings(PG_LIST(&c, keys));
  std::string generated = table;
  for (const auto& name : plain) {
    names.push_back(quote_name(name));
    if (!primary) generated += "_" + name;
  }
  generated += primary ? "_pkey" : "_key";
  const std::string index = *c.conname != 0 ? c.conname : generated;
  check_object_name(index, c.location);
  if (primary) {
    std::vector<std::string> nulls, fresh;
    for (const auto& name : names) nulls.push_back(name + " IS NULL"), fresh.push_back("NEW." + name + " IS NULL");
    // Rows that are there already: a CHECK that fails on the first NULL.
    out_.sql.push_back("SELECT pg_refuse_null(count(*), " + quote_text(join_list(plain, ", ")) + ") FROM " +
                       quote_name(table) + " WHERE " + join_list(nulls, " OR "));
    for (const std::string_view event : {"INSERT", "UPDATE"}) {
      const std::string trigger = "outlast_" + index + (event == "INSERT" ? "_insert" : "_update");
      out_.sql.push_back("CREATE TRIGGER " + quote_name(trigger) + " BEFORE " + std::string(event) + " ON " +
                         quote_name(table) + " WHEN " + join_list(fresh, " OR ") + " BEGIN SELECT RAISE(ABORT, " +
                         quote_text("pg_null:key:" + join_list(plain, ", ")) + "); END");
    }
  }
  out_.sql.push_back("CREATE UNIQUE INDEX " + quote_name(index) + " ON " + quote_name(table) + " (" +
                     join_list(names, ", ") + ")" + (primary ? " /* primary key */" : " /* unique constraint */"));
}

void Translator::rename(const PgQuery__RenameStmt& stmt) {
  only(stmt, {"rename_type", "relation_type", "relation", "subname", "newname", "behavior"});
  const std::string table = stmt.relation != nullptr ? table_name(*stmt.relation, false) : "";
  check_object_name(stmt.newname, -1);
  out_.kind = StatementKind::kDdl, out_.tag = "ALTER TABLE";
  if (stmt.rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_TABLE) {
    out_.sql.push_back("ALTER TABLE " + table + " RENAME TO " + quote_name(stmt.newname));
    out_.sql.push_back(
        "CREATE TABLE IF NOT EXISTS outlast_sequence(name TEXT PRIMARY KEY, table_name TEXT, value INTEGER "
        "NOT NULL, step INTEGER NOT NULL) WITHOUT ROWID");
    out_.sql.push_back("UPDATE outlast_sequence SET table_name = " + quote_text(stmt.newname) +
                       " WHERE table_name = " + quote_text(stmt.relation->relname));
  } else if (stmt.rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_COLUMN &&
             stmt.relation_type == PG_QUERY__OBJECT_TYPE__OBJECT_TABLE) {
    check_column_name(stmt.newname, -1);
    out_.sql.push_back("ALTER TABLE " + table + " RENAME COLUMN " + quote_name(stmt.subname) + " TO " +
                       quote_name(stmt.newname));
  } else {
    refuse(Errc::kSyntax, "only tables and their columns can be renamed; drop and create the object again");
  }
}

}  // namespace outlast::sql
