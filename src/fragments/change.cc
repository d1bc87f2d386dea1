// What partitions cannot keep, and statements that change a partitioned table.
#include <algorithm>

#include "fragments/create.h"
#include "fragments/partitioned.h"
#include "pgtree/parse.h"

namespace outlast::fragments {
using pgtree::Node;

std::string in_quotes(const std::string& name) {
  return "\"" + name + "\"";
}

bool names_key(const PgQuery__Constraint& constraint, const std::string& key) {
  const auto names = pgtree::strings(PG_LIST(&constraint, keys));
  return std::ranges::find(names, key) != names.end();
}

Result<void> check_constraint(const PgQuery__Constraint& c, const std::string& column, const std::string& key) {
  if (c.contype == PG_QUERY__CONSTR_TYPE__CONSTR_FOREIGN)
    return Error(Errc::kSyntax,
                 "foreign keys are not supported on partitioned tables: a partition sees only its own rows");
  const bool unique =
      c.contype == PG_QUERY__CONSTR_TYPE__CONSTR_PRIMARY || c.contype == PG_QUERY__CONSTR_TYPE__CONSTR_UNIQUE;
  if (!unique || column == key || names_key(c, key)) return {};
  const std::string kind = c.contype == PG_QUERY__CONSTR_TYPE__CONSTR_PRIMARY ? "PRIMARY KEY" : "UNIQUE";
  return Error(Errc::kSyntax, "the " + kind + " must contain column " + in_quotes(key) +
                                  ", by which the table is partitioned: each partition checks only its own rows");
}

Result<void> check_column(const PgQuery__ColumnDef& column, const std::string& key) {
  const std::string name = column.colname;
  const auto type =
      column.type_name == nullptr ? std::vector<std::string>() : pgtree::strings(PG_LIST(column.type_name, names));
  bool numbered = !type.empty() && type.back().find("serial") != std::string::npos;
  for (const Node* node : PG_LIST(&column, constraints)) {
    TRY(check_constraint(*node->constraint, name, key));
    numbered = numbered || node->constraint->contype == PG_QUERY__CONSTR_TYPE__CONSTR_IDENTITY;
  }
  if (numbered)
    return Error(Errc::kSyntax, "column " + in_quotes(name) +
                                    ": serial and identity columns are not supported in partitioned tables, because "
                                    "each partition would count for itself; use uuid and gen_random_uuid()");
  return {};
}

namespace {

Result<void> check_alter(const PgQuery__AlterTableCmd& cmd, const std::string& key) {
  const Node* def = cmd.def;
  if (def != nullptr && def->node_case == PG_NODE(CONSTRAINT)) return check_constraint(*def->constraint, "", key);
  if (cmd.subtype == PG_QUERY__ALTER_TABLE_TYPE__AT_AddColumn && def->node_case == PG_NODE(COLUMN_DEF))
    return check_column(*def->column_def, key);
  const bool harmless = cmd.subtype == PG_QUERY__ALTER_TABLE_TYPE__AT_ColumnDefault ||
                        cmd.subtype == PG_QUERY__ALTER_TABLE_TYPE__AT_SetNotNull;
  if (cmd.name != key || harmless) return {};
  return Error(Errc::kDependentObjects,
               "cannot change column " + in_quotes(key) + ": the table is partitioned by it; create a new table");
}

}  // namespace

Result<void> check_change(std::string_view text, const TableLookup& find) {
  ASSIGN_OR_RETURN(const pgtree::Tree tree, pgtree::parse(std::string(text)));
  for (const PgQuery__RawStmt* statement : tree.statements()) {
    const Node& node = *statement->stmt;
    const PgQuery__RangeVar* relation = node.node_case == PG_NODE(INDEX_STMT)         ? node.index_stmt->relation
                                        : node.node_case == PG_NODE(ALTER_TABLE_STMT) ? node.alter_table_stmt->relation
                                        : node.node_case == PG_NODE(RENAME_STMT)      ? node.rename_stmt->relation
                                                                                      : nullptr;
    const Table* table = relation == nullptr ? nullptr : find(relation->relname);
    if (table == nullptr || !table->scheme) continue;
    const std::string& key = table->scheme->column;
    if (node.node_case == PG_NODE(INDEX_STMT) && node.index_stmt->unique) {
      bool found = false;
      for (const Node* item : PG_LIST(node.index_stmt, index_params)) found = found || item->index_elem->name == key;
      if (!found)
        return Error(Errc::kSyntax, "a unique index must contain column " + in_quotes(key) +
                                        ", by which the table is partitioned: each partition checks only its own rows");
    } else if (node.node_case == PG_NODE(ALTER_TABLE_STMT)) {
      for (const Node* cmd : PG_LIST(node.alter_table_stmt, cmds)) TRY(check_alter(*cmd->alter_table_cmd, key));
    } else if (node.node_case == PG_NODE(RENAME_STMT) &&
               node.rename_stmt->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_COLUMN &&
               node.rename_stmt->subname == key) {
      return Error(Errc::kDependentObjects,
                   "cannot rename column " + in_quotes(key) + ": the table is partitioned by it; create a new table");
    }
  }
  return {};
}

}  // namespace outlast::fragments
