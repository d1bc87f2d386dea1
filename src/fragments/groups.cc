// Partial aggregates, whole groups and DISTINCT below; what combines them above.
#include "fragments/pushdown.h"

namespace outlast::fragments {
namespace {
using pgtree::join_list;
using pgtree::Node;
using pgtree::quote_name;

bool numeric_column(const Column& column) {
  for (const std::string_view type : {"SMALLINT", "INT", "BIGINT", "REAL", "DOUBLE PRECISION"})
    if (column.declared == type) return true;
  return false;
}

/// Rewrites a copy of one SELECT; the copy counts only when all of it could be rewritten.
class Groups {
 public:
  Groups(const Scope& scope, pgtree::Arena& arena)
      : scope_(scope), source_(scope.sources[0]), arena_(arena), stmt_(pgtree::copy(*scope.stmt, arena)) {
    stmt_->with_clause = scope.stmt->with_clause;  // its SELECTs are rewritten on their own
  }

  std::optional<Draft> run() {
    const PgQuery__SelectStmt& old = *scope_.stmt;
    distinct_ = old.n_group_clause == 0 && old.having_clause == nullptr && !aggregated(old);
    if (distinct_ && old.n_distinct_clause == 0) return std::nullopt;
    if (!fits(old) || !read_groups(old)) return std::nullopt;
    std::size_t partitions = 0;
    for (const bool keep : source_.keep) partitions += keep;
    local_ = !distinct_ && (partitions == 1 || (key_grouped_ && !groups_.empty()));
    if (!rewrite_targets() || !rewrite_sort()) return std::nullopt;
    if (!finish(old) || !push_limit(old)) return std::nullopt;
    return std::move(draft_);
  }
  PgQuery__SelectStmt* rewritten() { return stmt_; }

 private:
  struct Group {
    const Node* node;
    std::string column;
    bool bare;
  };

  static bool aggregated(const PgQuery__SelectStmt& stmt) {
    for (const auto list : {PG_LIST(&stmt, target_list), PG_LIST(&stmt, sort_clause)})
      for (const Node* node : list)
        if (has_aggregate(*node)) return true;
    return false;
  }

  bool below(const Node& node, bool aggregates = false) const {
    return purity(node, aggregates) != Purity::kNo && scope_.owns(source_, node);
  }

  bool fits(const PgQuery__SelectStmt& stmt) {
    if (scope_.subqueries || stmt.n_window_clause > 0 || stmt.n_locking_clause > 0 || stmt.group_distinct) return false;
    if (stmt.limit_option == PG_QUERY__LIMIT_OPTION__LIMIT_OPTION_WITH_TIES) return false;
    for (const Node* node : PG_LIST(&stmt, distinct_clause))
      if (pgtree::inner(node) != nullptr) return false;  // DISTINCT ON
    for (const auto list : {PG_LIST(&stmt, target_list), PG_LIST(&stmt, sort_clause)})
      for (const Node* node : list)
        if (has_window(*node)) return false;
    if (stmt.where_clause != nullptr && !below(*stmt.where_clause)) return false;
    return stmt.having_clause == nullptr || below(*stmt.having_clause, true);
  }

  /// The column of this table that a node is; nullptr: something else.
  const Column* bare(const Node& node) const {
    if (node.node_case != PG_NODE(COLUMN_REF) || scope_.owner(*node.column_ref) != &source_) return nullptr;
    return source_.table->column(pgtree::strings(PG_LIST(node.column_ref, fields)).back());
  }

  bool read_groups(const PgQuery__SelectStmt& stmt) {
    const auto list = distinct_ ? PG_LIST(&stmt, target_list) : PG_LIST(&stmt, group_clause);
    for (const Node* item : list) {
      const Node* meant = item;
      if (distinct_) {
        meant = item->res_target->val;
      } else if (bare(*item) == nullptr) {  // a column comes before the name of a result
        meant = meant_by(stmt, *item);
        if (meant == nullptr || meant->node_case == PG_NODE(A_CONST) || meant->node_case == PG_NODE(PARAM_REF))
          return false;
      }
      if (!add_group(*meant)) return false;
    }
    return true;
  }

  bool add_group(const Node& node) {
    if (const Column* column = bare(node)) {
      key_grouped_ = key_grouped_ || (source_.table->scheme && column->name == source_.table->scheme->column);
      draft_.add({column->name, column->declared}, qualified(source_, column->name));
      groups_.push_back({&node, column->name, true});
      return true;
    }
    // The type of a calculated column is lost on the way, which only the statement's own result can bear.
    if (!scope_.top || !below(node)) return false;
    Result<std::string> text = pgtree::deparse_expression(node);
    if (!text.ok()) return false;
    const std::string name = "outlast_g" + std::to_string(groups_.size() + 1);
    draft_.add({name, ""}, *text);
    groups_.push_back({&node, name, false});
    return true;
  }

  void replace(Node& node, const std::string& text) { node = *pgtree::parse_expression(text, arena_); }

  bool rewrite_targets() {
    for (Node* item : PG_LIST(stmt_, target_list)) {
      auto& target = *item->res_target;
      const std::string name = pgtree::target_name(target.val);
      if (!rewrite(*target.val, true)) return false;
      if (*target.name == 0) target.name = arena_.text(name);
    }
    return true;
  }

  bool rewrite_sort() {
    for (Node* item : PG_LIST(stmt_, sort_clause)) {
      Node& node = *item->sort_by->node;
      const Node* meant = meant_by(*stmt_, node);
      if (meant == nullptr) return false;
      if (meant == &node && !rewrite(node, true)) return false;
    }
    return stmt_->having_clause == nullptr || rewrite(*stmt_->having_clause, false);
  }

  /// `whole`: the node is a result or a sort key as it stands, not a part of one.
  bool rewrite(Node& node, bool whole) {
    for (const Group& group : groups_) {
      if (group.bare || !pgtree::same_tree(group.node->base, node.base)) continue;
      if (!whole) return false;
      replace(node, quote_name(group.column));
      return true;
    }
    switch (node.node_case) {
      case PG_NODE(COLUMN_REF):
        return grouped(node);
      case PG_NODE(FUNC_CALL):
        if (is_aggregate(*node.func_call)) return aggregate(node, whole);
        break;
      case PG_NODE(SUB_LINK):
      case PG_NODE(SELECT_STMT):
        return false;
      default:
        break;
    }
    if (pgtree::inner(&node) == nullptr) return true;
    bool done = true;
    pgtree::for_each_child(*pgtree::inner(&node),
                           [&](const Node& child) { done = done && rewrite(const_cast<Node&>(child), false); });
    return done;
  }

  bool grouped(const Node& node) const {
    const Column* column = bare(node);
    if (column == nullptr) return false;
    for (const Group& group : groups_)
      if (group.bare && group.column == column->name) return true;
    return false;
  }

  /// The fragment's column for this expression.
  std::string partial(const std::string& sql, const std::string& declared) {
    for (const Draft::Item& item : draft_.items)
      if (item.sql == sql && item.column.declared == declared) return quote_name(item.column.name);
    const std::string name = "outlast_p" + std::to_string(++partials_);
    draft_.add({name, declared}, sql);
    return quote_name(name);
  }

  bool aggregate(Node& node, bool whole) {
    const PgQuery__FuncCall& call = *node.func_call;
    const std::string name = pgtree::strings(PG_LIST(&call, funcname)).back();
    for (const Node* arg : PG_LIST(&call, args))
      if (!below(*arg)) return false;
    if (call.agg_filter != nullptr && !below(*call.agg_filter)) return false;
    if (call.n_agg_order > 0 || call.func_variadic || call.n_args > 2) return false;
    if (call.n_args == 0 && !call.agg_star) return false;
    const Column* column = call.n_args > 0 ? bare(*call.args[0]) : nullptr;
    // sum, min and max have their argument's type, which is not known above.
    const bool typed = name == "sum" || name == "min" || name == "max";
    if (typed && column == nullptr && !(whole && scope_.top)) return false;
    Result<std::string> text = pgtree::deparse_expression(node);
    if (!text.ok()) return false;
    return local_ ? whole_aggregate(node, name, *text) : partial_aggregate(node, name, *text, column);
  }

  /// No group has rows in two partitions: the value is final. The casts keep the type that sql::translate() knew.
  bool whole_aggregate(Node& node, const std::string& name, const std::string& text) {
    const std::string p = partial(text, "");
    if (name == "count")
      replace(node, "(" + p + ")::int8");
    else if (name == "avg")
      replace(node, "(" + p + ")::float8");
    else if (name == "sum")
      replace(node, p + " + 0");
    else if (name == "string_agg")
      replace(node, "(" + p + ")::text");
    else if (name == "min" || name == "max")
      replace(node, "CASE WHEN true THEN " + p + " END");  // an expression: without the affinity of a column
    else
      replace(node, "(" + p + ")::bool");
    return true;
  }

  bool partial_aggregate(Node& node, const std::string& name, const std::string& text, const Column* column) {
    const PgQuery__FuncCall& call = *node.func_call;
    const bool extreme = name == "min" || name == "max";
    if (call.agg_distinct && !extreme) return false;
    if (name == "avg") return average(node);
    if (name == "count") {
      replace(node, "coalesce(sum(" + partial(text, "") + "), 0)::int8");
    } else if (name == "string_agg") {
      const Node& separator = *call.args[1];
      if (separator.node_case != PG_NODE(A_CONST)) return false;
      Result<std::string> literal = pgtree::deparse_expression(separator);
      if (!literal.ok()) return false;
      replace(node, "string_agg(" + partial(text, "") + ", " + *literal + ")");
    } else {
      const std::string declared = extreme && column != nullptr ? column->declared : "";  // for its collation
      replace(node, name + "(" + partial(text, declared) + ")");
    }
    return true;
  }

  /// The mean of means is not the mean: sums and counts travel.
  bool average(Node& node) {
    const PgQuery__FuncCall& call = *node.func_call;
    const Column* column = call.n_args == 1 ? bare(*call.args[0]) : nullptr;
    if (column == nullptr || !numeric_column(*column)) return false;
    std::string filter;
    if (call.agg_filter != nullptr) {
      Result<std::string> text = pgtree::deparse_expression(*call.agg_filter);
      if (!text.ok()) return false;
      filter = " FILTER (WHERE " + *text + ")";
    }
    const std::string argument = qualified(source_, column->name);
    const std::string sum = partial("sum((" + argument + ")::float8)" + filter, "");
    const std::string count = partial("count(" + argument + ")" + filter, "");
    replace(node, "(sum(" + sum + ") / nullif(sum(" + count + "), 0))::float8");
    return true;
  }

  /// WHERE, GROUP BY and HAVING of both statements.
  bool finish(const PgQuery__SelectStmt& old) {
    Result<std::string> where = text_of(conjuncts(old.where_clause));
    if (!where.ok()) return false;
    draft_.where = *where;
    if (!draft_.where.empty()) draft_.pushed.push_back("filter");
    stmt_->where_clause = nullptr;
    draft_.distinct = distinct_;
    draft_.pushed.push_back(distinct_ ? "distinct" : local_ ? "whole groups" : "partial aggregates");
    if (distinct_) return true;
    std::vector<std::string> texts;
    std::vector<Node*> columns;
    for (const Group& group : groups_) {
      Result<std::string> text = pgtree::deparse_expression(*group.node);
      if (!text.ok()) return false;
      texts.push_back(*text);
      columns.push_back(pgtree::parse_expression(quote_name(group.column), arena_));
    }
    draft_.group = join_list(texts, ", ");
    stmt_->n_group_clause = local_ ? 0 : columns.size();
    stmt_->group_clause = arena_.list(std::span<Node* const>(columns));
    if (!local_ || old.having_clause == nullptr) return !draft_.items.empty() || add_row();
    Result<std::string> having = pgtree::deparse_expression(*old.having_clause);
    if (!having.ok()) return false;
    draft_.having = *having;
    stmt_->having_clause = nullptr;
    return !draft_.items.empty() || add_row();
  }

  /// HAVING without a column: the rows still count.
  bool add_row() { return draft_.add({"outlast_row", ""}, "1"), true; }

  /// The first rows of every partition hold the first rows of all, when each row of the result is made in one place.
  bool push_limit(const PgQuery__SelectStmt& old) {
    const bool rows_are_final = distinct_ || (local_ && old.n_distinct_clause == 0);
    const std::string limit = rows_are_final ? partition_limit(old) : "";
    if (limit.empty()) return true;
    const auto order = order_text(old, [&](const Node& node) {
      if (!distinct_) return below(node, true);
      for (const Group& group : groups_)
        if (pgtree::same_tree(group.node->base, node.base)) return true;
      return false;
    });
    if (!order) return true;
    draft_.order = *order, draft_.limit = limit;
    draft_.pushed.push_back(order->empty() ? "limit" : "order and limit");
    return true;
  }

  const Scope& scope_;
  const Source& source_;
  pgtree::Arena& arena_;
  PgQuery__SelectStmt* stmt_;
  Draft draft_;
  std::vector<Group> groups_;
  std::size_t partials_{0};
  bool distinct_{false}, local_{false}, key_grouped_{false};
};

}  // namespace

std::optional<Draft> draft_groups(Scope& scope, pgtree::Arena& arena) {
  if (scope.sources.size() != 1 || scope.opaque) return std::nullopt;
  Groups groups(scope, arena);
  std::optional<Draft> out = groups.run();
  if (!out) return std::nullopt;
  *scope.stmt = *groups.rewritten();
  scope.sources[0].node = scope.stmt->from_clause[0]->range_var;
  return out;
}

}  // namespace outlast::fragments
