#include "fragments/reader.h"

#include <algorithm>

#include "fragments/prune.h"

namespace outlast::fragments {
using pgtree::Node;

void Reader::read(PgQuery__SelectStmt& stmt) {
  pgtree::for_each_child(stmt.base, [this](const Node& node) { mention(node); });
  select(stmt, {}, true);
  for (Scope& scope : scopes) choose(scope);
}

void Reader::mention(const Node& node) {
  if (node.node_case == PG_NODE(COLUMN_REF)) {
    const auto& ref = *node.column_ref;
    const auto fields = pgtree::strings(PG_LIST(&ref, fields));
    if (fields.size() == ref.n_fields)
      mentioned.names.insert(fields.begin(), fields.end());
    else if (fields.empty())
      mentioned.every = true;
    else
      mentioned.stars.insert(fields.back());
    return;
  }
  if (node.node_case == PG_NODE(JOIN_EXPR)) {
    const auto names = pgtree::strings(PG_LIST(node.join_expr, using_clause));
    mentioned.names.insert(names.begin(), names.end());
    mentioned.every = mentioned.every || node.join_expr->is_natural;
  }
  if (pgtree::inner(&node) != nullptr)
    pgtree::for_each_child(*pgtree::inner(&node), [this](const Node& child) { mention(child); });
}

void Reader::select(PgQuery__SelectStmt& stmt, Names visible, bool top) {
  if (stmt.with_clause != nullptr) {
    for (const Node* node : PG_LIST(stmt.with_clause, ctes)) {
      const auto& cte = *node->common_table_expr;
      const std::string name = cte.ctename;
      common.insert(name);
      if (stmt.with_clause->recursive) visible.push_back(name);
      if (cte.ctequery->node_case == PG_NODE(SELECT_STMT)) select(*cte.ctequery->select_stmt, visible, false);
      if (!stmt.with_clause->recursive) visible.push_back(name);
    }
  }
  const auto visit = [&](const Node& node) { expression(const_cast<Node&>(node), visible); };
  if (stmt.op != PG_QUERY__SET_OPERATION__SETOP_NONE) {
    select(*stmt.larg, visible, false);
    select(*stmt.rarg, visible, false);
    for (const Node* node : PG_LIST(&stmt, sort_clause)) visit(*node);
    return;
  }
  Scope scope{.stmt = &stmt, .top = top};
  Kept kept;
  for (Node* item : PG_LIST(&stmt, from_clause)) {
    const Kept more = from_item(scope, *item, visible);
    kept.insert(kept.end(), more.begin(), more.end());
  }
  filter(scope, kept, stmt.where_clause);
  for (const auto list : {PG_LIST(&stmt, target_list), PG_LIST(&stmt, group_clause), PG_LIST(&stmt, window_clause),
                          PG_LIST(&stmt, sort_clause), PG_LIST(&stmt, values_lists)})
    for (const Node* node : list) {
      scope.subqueries = scope.subqueries || has_subquery(*node);
      visit(*node);
    }
  for (const Node* node : {stmt.where_clause, stmt.having_clause, stmt.limit_count, stmt.limit_offset})
    if (node != nullptr) {
      scope.subqueries = scope.subqueries || has_subquery(*node);
      visit(*node);
    }
  scopes.push_back(std::move(scope));
}

/// SELECTs inside of an expression.
void Reader::expression(Node& node, const Names& visible) {
  if (node.node_case == PG_NODE(SELECT_STMT)) return select(*node.select_stmt, visible, false);
  if (pgtree::inner(&node) == nullptr) return;
  pgtree::for_each_child(*pgtree::inner(&node),
                         [&](const Node& child) { expression(const_cast<Node&>(child), visible); });
}

Reader::Kept Reader::from_item(Scope& scope, Node& node, const Names& visible) {
  switch (node.node_case) {
    case PG_NODE(RANGE_VAR):
      return table(scope, *node.range_var, visible);
    case PG_NODE(JOIN_EXPR):
      return join(scope, *node.join_expr, visible);
    default:
      scope.opaque = true;
      expression(node, visible);
      return {};
  }
}

Reader::Kept Reader::table(Scope& scope, PgQuery__RangeVar& node, const Names& visible) {
  const std::string name = node.relname;
  const bool plain = *node.schemaname == 0;
  const bool user = plain || std::string_view(node.schemaname) == "public";
  if (plain && std::ranges::find(visible, name) != visible.end()) {
    scope.opaque = true;
    return {};
  }
  const Table* found = user ? context_.find(name) : nullptr;
  if (found == nullptr) {
    scope.opaque = true;
    unknown = user ? name : std::string(node.schemaname) + "." + name;
    return {};
  }
  partitioned = partitioned || found->scheme.has_value();
  scope.sources.push_back(
      {.alias = node.alias != nullptr ? node.alias->aliasname : name, .node = &node, .table = found});
  return {scope.sources.size() - 1};
}

/// ON decides which rows of the side that is filled up with NULLs are joined; the other side keeps its rows whatever ON
/// says. WHERE above decides about rows of a side only when they are never filled up.
Reader::Kept Reader::join(Scope& scope, PgQuery__JoinExpr& join, const Names& visible) {
  const Kept left = from_item(scope, *join.larg, visible);
  const Kept right = from_item(scope, *join.rarg, visible);
  if (join.quals != nullptr) {
    scope.subqueries = scope.subqueries || has_subquery(*join.quals);
    expression(*join.quals, visible);
  }
  Kept both = left;
  both.insert(both.end(), right.begin(), right.end());
  switch (join.jointype) {
    case PG_QUERY__JOIN_TYPE__JOIN_INNER:
      filter(scope, both, join.quals);
      return both;
    case PG_QUERY__JOIN_TYPE__JOIN_LEFT:
      filter(scope, right, join.quals);
      return left;
    case PG_QUERY__JOIN_TYPE__JOIN_RIGHT:
      filter(scope, left, join.quals);
      return right;
    default:
      return {};
  }
}

void Reader::filter(Scope& scope, const Kept& kept, const Node* condition) {
  for (const Node* part : conjuncts(condition))
    for (const std::size_t i : kept) scope.sources[i].candidates.push_back(part);
}

/// Now that all tables of the scope are known: whose columns a conjunct names, and which partitions it leaves.
void Reader::choose(Scope& scope) {
  for (Source& source : scope.sources) {
    const IsKey is_key = [&](const PgQuery__ColumnRef& ref) {
      return source.table->scheme && scope.owner(ref) == &source &&
             pgtree::strings(PG_LIST(&ref, fields)).back() == source.table->scheme->column;
    };
    source.keep.assign(source.table->partitions.size(), true);
    for (const Node* part : source.candidates) {
      const std::vector<bool> one = prune(*source.table, part, is_key, context_.parameters);
      for (std::size_t i = 0; i < one.size(); ++i) source.keep[i] = source.keep[i] && one[i];
      if (purity(*part) == Purity::kSafe && scope.owns(source, *part)) source.filters.push_back(part);
    }
  }
}

}  // namespace outlast::fragments
