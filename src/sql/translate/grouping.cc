#include "sql/translate/translator.h"

namespace outlast::sql {
namespace {
using tree::Node;

bool is_aggregate_call(const Node& node, bool (*is_aggregate)(std::string_view)) {
  return node.node_case == PG_NODE(FUNC_CALL) && node.func_call->over == nullptr &&
         is_aggregate(tree::strings(PG_LIST(node.func_call, funcname)).back());
}

bool has_aggregate(const Node& node, bool (*is_aggregate)(std::string_view)) {
  if (is_aggregate_call(node, is_aggregate)) return true;
  if (node.node_case == PG_NODE(SUB_LINK) || tree::inner(&node) == nullptr) return false;
  bool found = false;
  tree::for_each_child(*tree::inner(&node),
                       [&](const Node& child) { found = found || has_aggregate(child, is_aggregate); });
  return found;
}

/// "t.a" and "a" are the same column when only one side is qualified.
bool same_column(const Node& a, const Node& b) {
  if (a.node_case != PG_NODE(COLUMN_REF) || b.node_case != PG_NODE(COLUMN_REF)) return false;
  const auto x = tree::strings(PG_LIST(a.column_ref, fields)), y = tree::strings(PG_LIST(b.column_ref, fields));
  if (x.empty() || y.empty() || x.back() != y.back()) return false;
  return x.size() == y.size() ? x == y : true;
}

}  // namespace

/// PostgreSQL refuses a column that is neither grouped nor inside an aggregate; SQLite would return any row's value.
void Translator::check_grouping(const PgQuery__SelectStmt& stmt) {
  if (failed()) return;
  bool grouped = stmt.n_group_clause > 0 || stmt.having_clause != nullptr;
  for (const Node* node : PG_LIST(&stmt, target_list))
    grouped = grouped || has_aggregate(*node->res_target->val, &Translator::is_aggregate);
  for (const Node* node : PG_LIST(&stmt, sort_clause))
    grouped = grouped || has_aggregate(*node->sort_by->node, &Translator::is_aggregate);
  if (!grouped) return;
  std::set<std::string> outputs;
  for (const Node* node : PG_LIST(&stmt, target_list)) {
    check_grouped(*node->res_target->val, stmt, {});
    outputs.insert(*node->res_target->name != 0 ? node->res_target->name : target_name(node->res_target->val));
  }
  if (stmt.having_clause != nullptr) check_grouped(*stmt.having_clause, stmt, {});
  for (const Node* node : PG_LIST(&stmt, sort_clause)) check_grouped(*node->sort_by->node, stmt, outputs);
}

void Translator::check_grouped(const Node& node, const PgQuery__SelectStmt& stmt,
                               const std::set<std::string>& outputs) {
  if (failed() || is_aggregate_call(node, &Translator::is_aggregate)) return;
  for (const Node* item : PG_LIST(&stmt, group_clause)) {
    if (tree::same_tree(item->base, node.base) || same_column(*item, node)) return;
    // GROUP BY 2, GROUP BY output name
    for (std::size_t i = 0; i < stmt.n_target_list; ++i) {
      const auto& target = *stmt.target_list[i]->res_target;
      const bool ordinal = item->node_case == PG_NODE(A_CONST) &&
                           item->a_const->val_case == PG_QUERY__A__CONST__VAL_IVAL &&
                           item->a_const->ival->ival == static_cast<int>(i) + 1;
      const bool named = item->node_case == PG_NODE(COLUMN_REF) && *target.name != 0 &&
                         item->column_ref->n_fields == 1 &&
                         tree::strings(PG_LIST(item->column_ref, fields)).back() == target.name;
      if ((ordinal || named) && tree::same_tree(target.val->base, node.base)) return;
    }
  }
  if (node.node_case == PG_NODE(COLUMN_REF)) {
    const auto names = tree::strings(PG_LIST(node.column_ref, fields));
    if (names.size() == 1 && outputs.contains(names[0])) return;
    if (scopes_.back().sources.empty()) return;
    bool outer = names.size() == 2;  // t.a of an enclosing query
    for (const Source& source : scopes_.back().sources) outer = outer && source.name != names[0];
    if (outer) return;
    const std::string shown = names.empty() ? "*" : join_list(names, ".");
    return refuse(Errc::kGroupingError,
                  "column \"" + shown +
                      "\" must appear in the GROUP BY clause or be used in an "
                      "aggregate function",
                  node.column_ref->location);
  }
  if (tree::inner(&node) == nullptr) return;
  if (node.node_case == PG_NODE(SUB_LINK)) {
    // Inside a subquery only columns written with an alias of this query can be told to be ours.
    const std::function<void(const Node&)> visit = [&](const Node& child) {
      if (child.node_case == PG_NODE(COLUMN_REF)) {
        const auto names = tree::strings(PG_LIST(child.column_ref, fields));
        for (const Source& source : scopes_.back().sources)
          if (names.size() == 2 && names[0] == source.name) check_grouped(child, stmt, outputs);
      } else if (tree::inner(&child) != nullptr) {
        tree::for_each_child(*tree::inner(&child), visit);
      }
    };
    return tree::for_each_child(*tree::inner(&node), visit);
  }
  tree::for_each_child(*tree::inner(&node), [&](const Node& child) { check_grouped(child, stmt, outputs); });
}

}  // namespace outlast::sql
