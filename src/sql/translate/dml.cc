#include <algorithm>

#include "sql/translate/translator.h"

namespace outlast::sql {

std::string Translator::insert_columns(const PgQuery__InsertStmt& stmt, std::vector<bool>& defaulted) {
  const bool has_values = stmt.select_stmt != nullptr && stmt.select_stmt->node_case == PG_NODE(SELECT_STMT) &&
                          stmt.select_stmt->select_stmt->n_values_lists > 0;
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (const Node* node : PG_LIST(&stmt, cols)) {
    only(*node->res_target, {"name"});
    if (!seen.insert(node->res_target->name).second)
      refuse(Errc::kDuplicateColumn, std::string("column \"") + node->res_target->name + "\" specified more than once",
             node->res_target->location);
    names.push_back(quote_name(node->res_target->name));
  }
  if (has_values) {
    // SQLite has no DEFAULT inside VALUES: a column that is DEFAULT in every row is left out.
    const auto rows = PG_LIST(stmt.select_stmt->select_stmt, values_lists);
    const std::size_t width = rows[0]->list->n_items;
    defaulted.assign(width, false);
    for (std::size_t c = 0; c < width; ++c) {
      std::size_t count = 0;
      for (const Node* row : rows)
        count += c < row->list->n_items && row->list->items[c]->node_case == PG_NODE(SET_TO_DEFAULT);
      if (count > 0 && (count < rows.size() || names.empty()))
        refuse(Errc::kSyntax, "DEFAULT is supported only with a column list and in every row; leave the column out");
      defaulted[c] = count > 0;
    }
    if (!names.empty() && names.size() != width)
      refuse(Errc::kSyntax, names.size() < width ? "INSERT has more expressions than target columns"
                                                 : "INSERT has more target columns than expressions");
  }
  std::vector<std::string> kept;
  for (std::size_t i = 0; i < names.size(); ++i)
    if (i >= defaulted.size() || !defaulted[i]) kept.push_back(names[i]);
  return kept.empty() ? "" : "(" + join_list(kept, ", ") + ")";
}

std::string Translator::insert_rows(const PgQuery__SelectStmt& stmt, const std::vector<bool>& defaulted) {
  only(stmt, {"values_lists", "limit_option", "op"});
  std::vector<std::string> rows;
  sequence_allowed_ = true;
  for (const Node* row : PG_LIST(&stmt, values_lists)) {
    std::vector<std::string> cells;
    if (row->list->n_items != defaulted.size()) refuse(Errc::kSyntax, "VALUES lists must all be the same length");
    for (std::size_t i = 0; i < row->list->n_items && i < defaulted.size(); ++i)
      if (!defaulted[i]) cells.push_back(expr(row->list->items[i]).sql);
    rows.push_back("(" + join_list(cells, ", ") + ")");
  }
  sequence_allowed_ = false;
  return "VALUES " + join_list(rows, ", ");
}

Translator::Selected Translator::insert(const PgQuery__InsertStmt& stmt) {
  only(stmt, {"relation", "cols", "select_stmt", "on_conflict_clause", "returning_list", "with_clause", "override"});
  if (stmt.override == PG_QUERY__OVERRIDING_KIND__OVERRIDING_USER_VALUE)
    refuse(Errc::kSyntax, "OVERRIDING USER VALUE is not supported; leave the column out");
  Selected out;
  ctes_.emplace_back();
  std::string sql = with_clause(stmt.with_clause) + "INSERT INTO " + table_name(*stmt.relation, false);
  Source target{.name = stmt.relation->relname};
  if (stmt.relation->alias != nullptr) {
    target.name = stmt.relation->alias->aliasname;
    sql += " AS " + quote_name(target.name);
  }
  std::vector<bool> defaulted;
  const std::string columns = insert_columns(stmt, defaulted);
  const bool has_values = !defaulted.empty();
  const bool only_defaults = has_values && std::find(defaulted.begin(), defaulted.end(), false) == defaulted.end();
  if (stmt.select_stmt == nullptr || only_defaults) {
    if (only_defaults && stmt.select_stmt->select_stmt->n_values_lists > 1)
      refuse(Errc::kSyntax, "several rows of nothing but DEFAULT are not supported; insert them one by one");
    sql += " DEFAULT VALUES";
  } else if (has_values) {
    sql += " " + columns + " " + insert_rows(*stmt.select_stmt->select_stmt, defaulted);
  } else {
    const Selected rows = query(stmt.select_stmt);
    if (rows.columns_known && stmt.n_cols > 0 && rows.columns.size() != stmt.n_cols)
      refuse(Errc::kSyntax, "INSERT has more or fewer expressions than target columns");
    // WHERE TRUE keeps SQLite from reading ON CONFLICT as a join condition.
    sql += " " + columns + " SELECT * FROM (" + rows.sql + ") WHERE 1";
  }
  scopes_.emplace_back();
  scopes_.back().sources.push_back(target);
  if (stmt.on_conflict_clause != nullptr) {
    if (stmt.select_stmt == nullptr || only_defaults) refuse(Errc::kSyntax, "ON CONFLICT needs values");
    sql += on_conflict(*stmt.on_conflict_clause);
  }
  sql += returning(PG_LIST(&stmt, returning_list), out);
  scopes_.pop_back();
  ctes_.pop_back();
  out.sql = std::move(sql);
  return out;
}

std::string Translator::on_conflict(const PgQuery__OnConflictClause& clause) {
  only(clause, {"action", "infer", "target_list", "where_clause"});
  std::string sql = " ON CONFLICT";
  if (clause.infer != nullptr) {
    only(*clause.infer, {"index_elems", "where_clause", "conname"});
    if (*clause.infer->conname != 0)
      refuse(Errc::kSyntax, "ON CONFLICT ON CONSTRAINT is not supported; name the columns", clause.infer->location);
    std::vector<std::string> parts;
    for (const Node* node : PG_LIST(clause.infer, index_elems)) {
      only(*node->index_elem, {"name", "expr", "ordering", "nulls_ordering"});
      parts.push_back(node->index_elem->expr != nullptr ? expr(node->index_elem->expr).sql
                                                        : quote_name(node->index_elem->name));
    }
    sql += " (" + join_list(parts, ", ") + ")";
    if (clause.infer->where_clause != nullptr) sql += " WHERE " + condition(clause.infer->where_clause, "WHERE");
  }
  if (clause.action == PG_QUERY__ON_CONFLICT_ACTION__ONCONFLICT_NOTHING) return sql + " DO NOTHING";
  scopes_.back().sources.push_back({.name = "excluded"});
  sql += " DO UPDATE SET " + assignments(PG_LIST(&clause, target_list));
  if (clause.where_clause != nullptr) sql += " WHERE " + condition(clause.where_clause, "WHERE");
  scopes_.back().sources.pop_back();
  return sql;
}

std::string Translator::assignments(std::span<Node* const> targets) {
  std::vector<std::string> parts;
  std::set<std::string> seen;
  sequence_allowed_ = true;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const auto& target = *targets[i]->res_target;
    only(target, {"name", "val"});
    if (!seen.insert(target.name).second)
      refuse(Errc::kSyntax, std::string("multiple assignments to same column \"") + target.name + "\"",
             target.location);
    if (target.val == nullptr || target.val->node_case == PG_NODE(SET_TO_DEFAULT))
      refuse(Errc::kSyntax, "SET … = DEFAULT is not supported; write the value", target.location);
    else if (target.val->node_case == PG_NODE(MULTI_ASSIGN_REF))
      parts.push_back(multi_assignment(targets, i));
    else
      parts.push_back(quote_name(target.name) + " = " + expr(target.val).sql);
  }
  sequence_allowed_ = false;
  return join_list(parts, ", ");
}

/// SET (a, b) = (1, 2) or = (SELECT …): the targets from i on share one source.
std::string Translator::multi_assignment(std::span<Node* const> targets, std::size_t& i) {
  const auto& first = *targets[i]->res_target->val->multi_assign_ref;
  std::vector<std::string> names;
  const auto n = static_cast<std::size_t>(first.ncolumns);
  for (std::size_t k = i; k < i + n && k < targets.size(); ++k)
    names.push_back(quote_name(targets[k]->res_target->name));
  i += n - 1;
  std::string value;
  if (first.source->node_case == PG_NODE(ROW_EXPR)) {
    std::vector<std::string> cells;
    for (const Expression& e : exprs(PG_LIST(first.source->row_expr, args))) cells.push_back(e.sql);
    value = "(" + join_list(cells, ", ") + ")";
  } else if (first.source->node_case == PG_NODE(SUB_LINK)) {
    value = "(" + query(first.source->sub_link->subselect).sql + ")";
  } else {
    refuse_node(first.source, "multiple assignment");
  }
  return "(" + join_list(names, ", ") + ") = " + value;
}

Translator::Selected Translator::update(const PgQuery__UpdateStmt& stmt) {
  only(stmt, {"relation", "target_list", "where_clause", "from_clause", "returning_list", "with_clause"});
  Selected out;
  ctes_.emplace_back();
  scopes_.emplace_back();
  std::string sql = with_clause(stmt.with_clause) + "UPDATE ";
  const std::string table = table_name(*stmt.relation, false);
  Source target{.name = stmt.relation->relname};
  sql += table;
  if (stmt.relation->alias != nullptr) {
    target.name = stmt.relation->alias->aliasname;
    sql += " AS " + quote_name(target.name);
  }
  add_source(std::move(target));
  const std::string from = stmt.n_from_clause > 0 ? " FROM " + from_list(PG_LIST(&stmt, from_clause)) : "";
  sql += " SET " + assignments(PG_LIST(&stmt, target_list)) + from;
  if (stmt.where_clause != nullptr) sql += " WHERE " + condition(stmt.where_clause, "WHERE");
  if (stmt.n_from_clause > 0 && stmt.n_returning_list > 0)
    refuse(Errc::kSyntax, "RETURNING together with UPDATE … FROM is not supported; select the rows afterwards");
  sql += returning(PG_LIST(&stmt, returning_list), out);
  scopes_.pop_back();
  ctes_.pop_back();
  out.sql = std::move(sql);
  return out;
}

Translator::Selected Translator::delete_from(const PgQuery__DeleteStmt& stmt) {
  only(stmt, {"relation", "using_clause", "where_clause", "returning_list", "with_clause"});
  Selected out;
  ctes_.emplace_back();
  scopes_.emplace_back();
  std::string sql = with_clause(stmt.with_clause) + "DELETE FROM ";
  const std::string table = table_name(*stmt.relation, false);
  Source target{.name = stmt.relation->relname};
  std::string alias;
  if (stmt.relation->alias != nullptr) {
    target.name = stmt.relation->alias->aliasname;
    alias = " AS " + quote_name(target.name);
  }
  const std::string name = quote_name(target.name);
  add_source(std::move(target));
  sql += table + alias;
  if (stmt.n_using_clause > 0) {
    // DELETE … USING: the rows of the join, found by their row id.
    const std::string from = from_list(PG_LIST(&stmt, using_clause));
    std::string rows = "SELECT " + name + "._rowid_ FROM " + table + alias + ", " + from;
    if (stmt.where_clause != nullptr) rows += " WHERE " + condition(stmt.where_clause, "WHERE");
    if (stmt.n_returning_list > 0)
      refuse(Errc::kSyntax, "RETURNING together with DELETE … USING is not supported; select the rows before");
    sql += " WHERE _rowid_ IN (" + rows + ")";
  } else if (stmt.where_clause != nullptr) {
    sql += " WHERE " + condition(stmt.where_clause, "WHERE");
  }
  sql += returning(PG_LIST(&stmt, returning_list), out);
  scopes_.pop_back();
  ctes_.pop_back();
  out.sql = std::move(sql);
  return out;
}

std::string Translator::returning(std::span<Node* const> list, Selected& out) {
  if (list.empty()) return "";
  for (const Node* node : list) {
    const Node* value = node->res_target->val;
    if (value != nullptr && value->node_case == PG_NODE(COLUMN_REF) && value->column_ref->n_fields > 1 &&
        value->column_ref->fields[value->column_ref->n_fields - 1]->node_case == PG_NODE(A_STAR))
      refuse(Errc::kSyntax, "RETURNING t.* is not supported; write RETURNING *", value->column_ref->location);
  }
  return " RETURNING " + target_list(list, out);
}

}  // namespace outlast::sql
