#include "fragments/pushdown.h"

#include <limits>

namespace outlast::fragments {
namespace {
using pgtree::join_list;
using pgtree::Node;
using pgtree::quote_name;

std::optional<std::int64_t> whole_number(const Node* node) {
  if (node == nullptr || node->node_case != PG_NODE(A_CONST) || node->a_const->isnull ||
      node->a_const->val_case != PG_QUERY__A__CONST__VAL_IVAL || node->a_const->ival->ival < 0)
    return std::nullopt;
  return node->a_const->ival->ival;
}

bool plain_select(const PgQuery__SelectStmt& stmt) {
  if (stmt.n_group_clause > 0 || stmt.having_clause != nullptr || stmt.n_distinct_clause > 0 ||
      stmt.n_window_clause > 0 || stmt.limit_option == PG_QUERY__LIMIT_OPTION__LIMIT_OPTION_WITH_TIES)
    return false;
  for (const auto list : {PG_LIST(&stmt, target_list), PG_LIST(&stmt, sort_clause)})
    for (const Node* node : list)
      if (has_aggregate(*node) || has_window(*node)) return false;
  return true;
}

}  // namespace

void Draft::add(FragmentColumn column, std::string sql) {
  for (const Item& item : items)
    if (item.column.name == column.name) return;
  items.push_back({std::move(column), std::move(sql)});
}

std::string Draft::sql(const Source& source) const {
  std::vector<std::string> columns;
  for (const Item& item : items) columns.push_back(item.sql + " AS " + quote_name(item.column.name));
  std::string out = std::string("SELECT ") + (distinct ? "DISTINCT " : "") + join_list(columns, ", ") + " FROM " +
                    quote_name(source.table->name) + " AS " + quote_name(source.alias);
  if (!where.empty()) out += " WHERE " + where;
  if (!group.empty()) out += " GROUP BY " + group;
  if (!having.empty()) out += " HAVING " + having;
  if (!order.empty()) out += " ORDER BY " + order;
  if (!limit.empty()) out += " LIMIT " + limit;
  return out;
}

std::string qualified(const Source& source, const std::string& column) {
  return quote_name(source.alias) + "." + quote_name(column);
}

Result<std::string> text_of(const std::vector<const Node*>& parts) {
  std::vector<std::string> out;
  for (const Node* part : parts) {
    ASSIGN_OR_RETURN(std::string text, pgtree::deparse_expression(*part));
    out.push_back(parts.size() > 1 ? "(" + text + ")" : std::move(text));
  }
  return join_list(out, " AND ");
}

std::string partition_limit(const PgQuery__SelectStmt& stmt) {
  const auto limit = whole_number(stmt.limit_count), offset = whole_number(stmt.limit_offset);
  if (limit && (stmt.limit_offset == nullptr || offset)) return std::to_string(*limit + offset.value_or(0));
  const bool parameter = stmt.limit_count != nullptr && stmt.limit_count->node_case == PG_NODE(PARAM_REF);
  return parameter && stmt.limit_offset == nullptr ? "$" + std::to_string(stmt.limit_count->param_ref->number) : "";
}

const Node* meant_by(const PgQuery__SelectStmt& stmt, const Node& item) {
  if (item.node_case == PG_NODE(A_CONST)) {
    const auto ordinal = whole_number(&item);
    if (!ordinal || *ordinal < 1 || *ordinal > static_cast<std::int64_t>(stmt.n_target_list)) return nullptr;
    for (const Node* target : PG_LIST(&stmt, target_list)) {  // "*" makes ordinals mean something else
      const Node* val = target->res_target->val;
      if (val->node_case == PG_NODE(COLUMN_REF) &&
          pgtree::strings(PG_LIST(val->column_ref, fields)).size() != val->column_ref->n_fields)
        return nullptr;
    }
    return stmt.target_list[*ordinal - 1]->res_target->val;
  }
  if (item.node_case != PG_NODE(COLUMN_REF) || item.column_ref->n_fields != 1) return &item;
  const auto names = pgtree::strings(PG_LIST(item.column_ref, fields));
  for (const Node* node : PG_LIST(&stmt, target_list)) {
    const auto& target = *node->res_target;
    const std::string name = *target.name != 0 ? target.name : pgtree::target_name(target.val);
    if (!names.empty() && name == names[0]) return target.val;
  }
  return &item;
}

std::optional<std::string> order_text(const PgQuery__SelectStmt& stmt, const std::function<bool(const Node&)>& usable) {
  std::vector<std::string> parts;
  for (const Node* node : PG_LIST(&stmt, sort_clause)) {
    const auto& sort = *node->sort_by;
    const Node* meant = meant_by(stmt, *sort.node);
    // A literal or number would be read as an ordinal below.
    if (meant == nullptr || meant->node_case == PG_NODE(A_CONST) || meant->node_case == PG_NODE(PARAM_REF) ||
        sort.sortby_dir == PG_QUERY__SORT_BY_DIR__SORTBY_USING || !usable(*meant))
      return std::nullopt;
    Result<std::string> text = pgtree::deparse_expression(*meant);
    if (!text.ok()) return std::nullopt;
    std::string part = std::move(*text);
    if (sort.sortby_dir == PG_QUERY__SORT_BY_DIR__SORTBY_DESC) part += " DESC";
    if (sort.sortby_nulls == PG_QUERY__SORT_BY_NULLS__SORTBY_NULLS_FIRST) part += " NULLS FIRST";
    if (sort.sortby_nulls == PG_QUERY__SORT_BY_NULLS__SORTBY_NULLS_LAST) part += " NULLS LAST";
    parts.push_back(std::move(part));
  }
  return join_list(parts, ", ");
}

Result<Draft> draft_rows(const Scope& scope, const Source& source, const Mentioned& mentioned) {
  const PgQuery__SelectStmt& stmt = *scope.stmt;
  Draft out;
  for (const Column& column : source.table->columns)
    if (mentioned.needs(source, column.name)) out.add({column.name, column.declared}, qualified(source, column.name));
  const std::size_t mentioned_columns = out.items.size();
  if (out.items.empty()) out.add({"outlast_row", ""}, "1");
  std::vector<const Node*> filters = source.filters;
  const bool alone = scope.sources.size() == 1 && !scope.opaque;
  const auto runs_below = [&](const Node& node) { return purity(node) != Purity::kNo && scope.owns(source, node); };
  bool all_below = alone;
  for (const Node* part : conjuncts(stmt.where_clause)) all_below = all_below && runs_below(*part);
  if (all_below) filters = conjuncts(stmt.where_clause);
  ASSIGN_OR_RETURN(out.where, text_of(filters));
  if (!out.where.empty()) out.pushed.push_back("filter");
  if (mentioned_columns < source.table->columns.size())
    out.pushed.push_back(std::to_string(mentioned_columns) + " of " + std::to_string(source.table->columns.size()) +
                         " columns");
  if (!all_below || !plain_select(stmt)) return out;
  const std::string limit = partition_limit(stmt);
  const auto order = limit.empty() ? std::nullopt : order_text(stmt, runs_below);
  if (!order) return out;
  out.order = *order, out.limit = limit;
  out.pushed.push_back(order->empty() ? "limit" : "order and limit");
  return out;
}

}  // namespace outlast::fragments
