// From a SELECT to its fragments and its final statement.
#include "fragments/plan.h"
#include "fragments/prune.h"
#include "fragments/pushdown.h"
#include "fragments/reader.h"
#include "fragments/time_key.h"

namespace outlast::fragments {
namespace {
using pgtree::Node;

/// now() and its like become the transaction's time in conditions, so that partitions and filters can depend on them.
class Clock {
 public:
  Clock(std::int64_t micros, pgtree::Arena& arena) : micros_(micros), arena_(arena) {}

  void in_conditions(Node& node) {
    if (node.node_case == PG_NODE(SELECT_STMT)) return in_select(*node.select_stmt);
    if (node.node_case == PG_NODE(JOIN_EXPR) && node.join_expr->quals != nullptr) write(*node.join_expr->quals);
    below(node, [this](Node& child) { in_conditions(child); });
  }
  void in_select(PgQuery__SelectStmt& stmt) {
    if (stmt.where_clause != nullptr) write(*stmt.where_clause);
    for (PgQuery__SelectStmt* arm : {stmt.larg, stmt.rarg})
      if (arm != nullptr) in_select(*arm);
    pgtree::for_each_child(stmt.base, [this](const Node& child) { in_conditions(const_cast<Node&>(child)); });
  }

 private:
  template <class Visit>
  static void below(Node& node, Visit visit) {
    if (pgtree::inner(&node) == nullptr) return;
    pgtree::for_each_child(*pgtree::inner(&node), [&](const Node& child) { visit(const_cast<Node&>(child)); });
  }

  void write(Node& node) {
    const std::string text = constant(node);
    if (!text.empty())
      node = *pgtree::parse_expression(text, arena_);
    else if (node.node_case != PG_NODE(SUB_LINK))
      below(node, [this](Node& child) { write(child); });
  }

  std::string constant(const Node& node) const {
    const std::string stamp = pgtree::quote_text(format_stored_time(micros_, false)) + "::timestamptz";
    if (node.node_case == PG_NODE(FUNC_CALL) && node.func_call->n_args == 0) {
      const std::string name = pgtree::strings(PG_LIST(node.func_call, funcname)).back();
      const bool now = name == "now" || name == "transaction_timestamp" || name == "statement_timestamp";
      return now ? stamp : "";
    }
    if (node.node_case != PG_NODE(SQLVALUE_FUNCTION)) return "";
    switch (node.sqlvalue_function->op) {
      case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_CURRENT_TIMESTAMP:
        return stamp;
      case PG_QUERY__SQLVALUE_FUNCTION_OP__SVFOP_CURRENT_DATE:
        return pgtree::quote_text(format_stored_time(micros_, true)) + "::date";
      default:
        return "";
    }
  }

  std::int64_t micros_;
  pgtree::Arena& arena_;
};

/// The range that holds every row that the statement can touch; nullopt: there are several.
std::optional<RangeId> one_range(const std::deque<Scope>& scopes) {
  std::optional<RangeId> out;
  for (const Scope& scope : scopes) {
    for (const Source& source : scope.sources) {
      const auto left = chosen(*source.table, source.keep);
      if (left.size() != 1 || (out && *out != left[0].range)) return std::nullopt;
      out = left[0].range;
    }
  }
  return out;
}

class Planner {
 public:
  Planner(pgtree::Arena& arena, const Reader& reader) : arena_(arena), reader_(reader) {}

  Result<void> plan(Scope& scope, SelectPlan& out) {
    if (scope.sources.empty()) return {};
    if (scope.stmt->n_locking_clause > 0)
      return Error(Errc::kSyntax,
                   "FOR UPDATE and FOR SHARE over several ranges are not supported: each range locks for itself; name "
                   "the partition key in WHERE");
    if (auto draft = draft_groups(scope, arena_)) {
      add(std::move(*draft), scope.sources[0], out);
      return {};
    }
    for (Source& source : scope.sources) {
      ASSIGN_OR_RETURN(Draft draft, draft_rows(scope, source, reader_.mentioned));
      add(std::move(draft), source, out);
    }
    return {};
  }

 private:
  void add(Draft draft, Source& source, SelectPlan& out) {
    Fragment fragment{.name = fresh_name(), .table = source.table->name, .sql = draft.sql(source)};
    for (Draft::Item& item : draft.items) fragment.columns.push_back(std::move(item.column));
    fragment.partitions = chosen(*source.table, source.keep);
    fragment.partitions_of_table = source.table->partitions.size();
    fragment.pushed = std::move(draft.pushed);
    // Without a row a fragment of whole groups would lack the one of an aggregate without GROUP BY.
    if (fragment.partitions.empty() && !source.table->partitions.empty())
      fragment.partitions.push_back(source.table->partitions.front());
    if (source.node->alias == nullptr) {
      auto* alias = static_cast<PgQuery__Alias*>(arena_.allocate(sizeof(PgQuery__Alias)));
      pg_query__alias__init(alias);
      alias->aliasname = arena_.text(source.alias);
      source.node->alias = alias;
    }
    source.node->relname = arena_.text(fragment.name);
    source.node->schemaname = arena_.text("");
    out.fragments.push_back(std::move(fragment));
  }

  /// Common tables would hide a table of the same name.
  std::string fresh_name() {
    std::string name;
    do name = "fragment_" + std::to_string(++names_);
    while (reader_.common.contains(name));
    return name;
  }

  pgtree::Arena& arena_;
  const Reader& reader_;
  std::size_t names_{0};
};

}  // namespace

Result<SelectPlan> plan_select(std::string_view text, const PlanContext& context) {
  ASSIGN_OR_RETURN(pgtree::Tree tree, pgtree::parse(std::string(text)));
  if (tree.statements().size() != 1 || tree.statements()[0]->stmt->node_case != PG_NODE(SELECT_STMT))
    return Error(Errc::kInvalidArgument, "only a SELECT is planned as fragments");
  Node& root = *tree.statements()[0]->stmt;
  if (context.now_micros) Clock(*context.now_micros, tree.arena()).in_select(*root.select_stmt);
  Reader reader(context);
  reader.read(*root.select_stmt);
  SelectPlan out;
  if (!reader.partitioned) return out;
  if (!reader.unknown.empty())
    return Error(Errc::kUndefinedTable, "relation \"" + reader.unknown +
                                            "\" does not exist, or is a view or of the system catalog, which cannot be "
                                            "read together with a partitioned table");
  if (const auto range = one_range(reader.scopes)) {
    out.kind = SelectPlan::Kind::kOneRange, out.range = *range;
    return out;
  }
  out.kind = SelectPlan::Kind::kFragments;
  Planner planner(tree.arena(), reader);
  for (Scope& scope : reader.scopes) TRY(planner.plan(scope, out));
  ASSIGN_OR_RETURN(out.final_sql, pgtree::deparse(root));
  return out;
}

std::string rows_table(const Fragment& fragment) {
  std::vector<std::string> columns;
  for (const FragmentColumn& column : fragment.columns)
    columns.push_back(pgtree::quote_name(column.name) + (column.declared.empty() ? "" : " " + column.declared));
  return "CREATE TABLE " + pgtree::quote_name(fragment.name) + " (" + pgtree::join_list(columns, ", ") + ")";
}

std::vector<std::string> explain(const SelectPlan& plan, const std::function<std::string(RangeId)>& place) {
  const auto where = [&place](RangeId range) { return "range " + range.to_string() + " at " + place(range); };
  if (plan.kind == SelectPlan::Kind::kHome) return {"Whole statement in the database's own range"};
  if (plan.kind == SelectPlan::Kind::kOneRange) return {"Whole statement in " + where(plan.range)};
  std::vector<std::string> out{"Final statement at the gateway: " + plan.final_sql};
  for (const Fragment& fragment : plan.fragments) {
    const std::size_t n = fragment.partitions.size();
    const bool whole_table = fragment.partitions_of_table == 1;
    out.push_back("  -> " + fragment.name + " of " + fragment.table + ": " +
                  (whole_table
                       ? "the whole table"
                       : std::to_string(n) + " of " + std::to_string(fragment.partitions_of_table) + " partitions") +
                  (fragment.pushed.empty() ? "" : "; " + pgtree::join_list(fragment.pushed, ", ")));
    out.push_back("       " + fragment.sql);
    for (const Partition& partition : fragment.partitions) out.push_back("       " + where(partition.range));
  }
  return out;
}

}  // namespace outlast::fragments
