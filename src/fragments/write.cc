#include "fragments/write.h"

#include <algorithm>
#include <map>

#include "fragments/partitioned.h"
#include "fragments/prune.h"
#include "fragments/reader.h"
#include "pgtree/names.h"
#include "pgtree/parse.h"

namespace outlast::fragments {
namespace {
using pgtree::Node;

std::optional<Partition> partition_at(const Table& table, Slot slot) {
  const auto it = std::ranges::find(table.partitions, slot, &Partition::slot);
  return it == table.partitions.end() ? std::nullopt : std::optional(*it);
}

Error refused(std::string why) {
  return {Errc::kSyntax, std::move(why)};
}

Result<std::size_t> position_of_key(const Table& table, std::span<const std::string> columns) {
  const std::string& key = table.scheme->column;
  if (columns.empty()) {
    const auto it = std::ranges::find(table.columns, key, &Column::name);
    return static_cast<std::size_t>(it - table.columns.begin());
  }
  const auto it = std::ranges::find(columns, key);
  if (it == columns.end())
    return refused("the row needs a value for column " + in_quotes(key) + ", by which table " + in_quotes(table.name) +
                   " is partitioned; name it");
  return static_cast<std::size_t>(it - columns.begin());
}

/// A literal of SQL for a calculated key.
Result<std::string> literal(const Value& value) {
  if (const auto* whole = std::get_if<std::int64_t>(&value)) return std::to_string(*whole);
  if (const auto* text = std::get_if<std::string>(&value)) return pgtree::quote_text(*text);
  if (std::holds_alternative<executor::Null>(value)) return std::string("NULL");
  return refused("a calculated partition key must be a whole number, a text or a time; write its value");
}

bool sets(std::span<Node* const> targets, const std::string& column) {
  return std::ranges::any_of(targets, [&](const Node* node) { return node->res_target->name == column; });
}

Error key_is_fixed(const Table& table) {
  return refused("column " + in_quotes(table.scheme->column) + " cannot be changed: table " + in_quotes(table.name) +
                 " is partitioned by it, and the row would have to move; delete it and insert it anew");
}

class Insert {
 public:
  Insert(PgQuery__InsertStmt& stmt, Node& root, const Table& table, const PlanContext& context, pgtree::Arena& arena)
      : stmt_(stmt), root_(root), table_(table), context_(context), arena_(arena) {}

  Result<WritePlan> plan(std::span<const Value> keys) {
    std::vector<std::string> columns;
    for (const Node* node : PG_LIST(&stmt_, cols)) columns.emplace_back(node->res_target->name);
    if (stmt_.on_conflict_clause != nullptr &&
        sets(PG_LIST(stmt_.on_conflict_clause, target_list), table_.scheme->column))
      return key_is_fixed(table_);
    if (stmt_.select_stmt == nullptr || stmt_.select_stmt->node_case != PG_NODE(SELECT_STMT))
      return refused("INSERT … DEFAULT VALUES names no value for column " + in_quotes(table_.scheme->column) +
                     ", by which the table is partitioned");
    ASSIGN_OR_RETURN(position_, position_of_key(table_, columns));
    PgQuery__SelectStmt& rows = *stmt_.select_stmt->select_stmt;
    if (rows.n_values_lists == 0) return from_query(std::move(columns));
    if (stmt_.with_clause != nullptr || has_subquery(*stmt_.select_stmt))
      return refused("subqueries in VALUES for a partitioned table are not supported; write INSERT … SELECT");
    return from_values(rows, keys);
  }

 private:
  Result<WritePlan> from_query(std::vector<std::string> columns) {
    if (stmt_.on_conflict_clause != nullptr || stmt_.n_returning_list > 0 || stmt_.with_clause != nullptr)
      return refused("INSERT … SELECT into a partitioned table takes no WITH, ON CONFLICT or RETURNING");
    WritePlan out{.kind = WritePlan::Kind::kQuery};
    ASSIGN_OR_RETURN(out.query_sql, pgtree::deparse(*stmt_.select_stmt));
    if (columns.empty())
      for (const Column& column : table_.columns) columns.push_back(column.name);
    out.query_columns = std::move(columns);
    return out;
  }

  Result<WritePlan> from_values(PgQuery__SelectStmt& rows, std::span<const Value> keys) {
    std::map<Slot, std::vector<Node*>> by_slot;
    std::vector<std::string> calculated;
    std::size_t next_key = 0;
    for (Node* row : PG_LIST(&rows, values_lists)) {
      if (row->list->n_items <= position_)
        return refused("a row of VALUES has no value for column " + in_quotes(table_.scheme->column));
      Node& key = *row->list->items[position_];
      if (key.node_case == PG_NODE(SET_TO_DEFAULT))
        return refused("DEFAULT is not supported for column " + in_quotes(table_.scheme->column) +
                       ", by which the table is partitioned; write its value");
      auto value = constant_value(key, context_.parameters);
      if (!value && next_key < keys.size()) {
        value = keys[next_key++];
        ASSIGN_OR_RETURN(const std::string text, literal(*value));
        key = *pgtree::parse_expression(text, arena_);
      } else if (!value) {
        ASSIGN_OR_RETURN(std::string text, pgtree::deparse_expression(key));
        calculated.push_back("(" + text + ")");
        continue;
      }
      ASSIGN_OR_RETURN(const Slot slot, table_.scheme->slot_of(*value));
      by_slot[slot].push_back(row);
    }
    if (!calculated.empty())
      return WritePlan{.kind = WritePlan::Kind::kKeys, .keys_sql = "VALUES " + pgtree::join_list(calculated, ", ")};
    WritePlan out{.kind = WritePlan::Kind::kParts};
    for (const auto& [slot, lists] : by_slot) {
      rows.n_values_lists = lists.size();
      rows.values_lists = arena_.list(std::span<Node* const>(lists));
      ASSIGN_OR_RETURN(std::string sql, pgtree::deparse(root_));
      out.parts.push_back({slot, partition_at(table_, slot), std::move(sql)});
    }
    return out;
  }

  PgQuery__InsertStmt& stmt_;
  Node& root_;
  const Table& table_;
  const PlanContext& context_;
  pgtree::Arena& arena_;
  std::size_t position_{0};
};

/// UPDATE and DELETE: the statement as it is, in every partition that may hold a row of its WHERE.
Result<WritePlan> plan_change(std::string_view text, const Node& root, const Table& table, const PlanContext& context) {
  const bool update = root.node_case == PG_NODE(UPDATE_STMT);
  const PgQuery__RangeVar& relation = update ? *root.update_stmt->relation : *root.delete_stmt->relation;
  const Node* where = update ? root.update_stmt->where_clause : root.delete_stmt->where_clause;
  const bool others = update ? root.update_stmt->n_from_clause > 0 || root.update_stmt->with_clause != nullptr
                             : root.delete_stmt->n_using_clause > 0 || root.delete_stmt->with_clause != nullptr;
  if (others || has_subquery(root))
    return refused(std::string(update ? "UPDATE" : "DELETE") + " of partitioned table " + in_quotes(table.name) +
                   " cannot read other tables: a partition sees no other range; ask for their values first");
  if (update && sets(PG_LIST(root.update_stmt, target_list), table.scheme->column)) return key_is_fixed(table);
  Scope scope;
  scope.sources.push_back(
      {.alias = relation.alias != nullptr ? relation.alias->aliasname : table.name, .table = &table});
  const IsKey is_key = [&](const PgQuery__ColumnRef& ref) {
    return scope.owner(ref) != nullptr && pgtree::strings(PG_LIST(&ref, fields)).back() == table.scheme->column;
  };
  auto left = chosen(table, prune(table, where, is_key, context.parameters));
  if (left.empty() && !table.partitions.empty()) left.push_back(table.partitions.front());  // its answer: no row
  WritePlan out{.kind = WritePlan::Kind::kParts};
  for (const Partition& partition : left) out.parts.push_back({partition.slot, partition, std::string(text)});
  return out;
}

bool is_partitioned(const PgQuery__RangeVar& relation, const TableLookup& find) {
  const Table* table = find(relation.relname);
  return table != nullptr && table->scheme;
}

/// A partitioned table that a write to an ordinary one reads; empty: none.
std::string reads_partitioned(const Node& node, const TableLookup& find) {
  if (node.node_case == PG_NODE(RANGE_VAR)) return is_partitioned(*node.range_var, find) ? node.range_var->relname : "";
  std::string out;
  if (pgtree::inner(&node) == nullptr) return out;
  pgtree::for_each_child(*pgtree::inner(&node), [&](const Node& child) {
    if (out.empty()) out = reads_partitioned(child, find);
  });
  return out;
}

}  // namespace

Result<WritePlan> plan_write(std::string_view text, const PlanContext& context, std::span<const Value> keys) {
  ASSIGN_OR_RETURN(pgtree::Tree tree, pgtree::parse(std::string(text)));
  if (tree.statements().size() != 1) return Error(Errc::kInvalidArgument, "one statement is planned at a time");
  Node& root = *tree.statements()[0]->stmt;
  const PgQuery__RangeVar* relation = root.node_case == PG_NODE(INSERT_STMT)   ? root.insert_stmt->relation
                                      : root.node_case == PG_NODE(UPDATE_STMT) ? root.update_stmt->relation
                                      : root.node_case == PG_NODE(DELETE_STMT) ? root.delete_stmt->relation
                                                                               : nullptr;
  if (relation == nullptr) return Error(Errc::kInvalidArgument, "only INSERT, UPDATE and DELETE are planned as writes");
  if (is_partitioned(*relation, context.find)) {
    const Table& table = *context.find(relation->relname);
    if (root.node_case != PG_NODE(INSERT_STMT)) return plan_change(text, root, table, context);
    return Insert(*root.insert_stmt, root, table, context, tree.arena()).plan(keys);
  }
  const std::string read = reads_partitioned(root, context.find);
  if (!read.empty())
    return refused("a write to table " + in_quotes(relation->relname) + " cannot read partitioned table " +
                   in_quotes(read) + ", which lies in other ranges; ask for its rows first");
  return WritePlan{};
}

Result<RowRouter> RowRouter::make(const Table& table, std::span<const std::string> columns) {
  ASSIGN_OR_RETURN(const std::size_t position, position_of_key(table, columns));
  return RowRouter(table, position);
}

Result<RowRouter::Target> RowRouter::route(std::span<const Value> row) const {
  if (position_ >= row.size())
    return Error(Errc::kBadCopyFormat, "missing data for column " + in_quotes(table_->scheme->column));
  ASSIGN_OR_RETURN(const Slot slot, table_->scheme->slot_of(row[position_]));
  return Target{slot, partition_at(*table_, slot)};
}

Result<void> admit_in_transaction(std::optional<RangeId> bound, std::span<const RangeId> ranges) {
  std::optional<RangeId> one = bound;
  for (const RangeId range : ranges) {
    if (!one) one = range;
    if (*one != range)
      return Error(Errc::kActiveTransaction,
                   "a transaction lives in one range, and this statement touches several, or another than the "
                   "transaction so far; name the partition key, or run the statement outside of BEGIN … COMMIT");
  }
  return {};
}

std::vector<RangeId> ranges_of(const SelectPlan& plan) {
  std::vector<RangeId> out;
  if (plan.kind == SelectPlan::Kind::kOneRange) out.push_back(plan.range);
  for (const Fragment& fragment : plan.fragments)
    for (const Partition& partition : fragment.partitions) out.push_back(partition.range);
  std::ranges::sort(out);
  out.erase(std::ranges::unique(out).begin(), out.end());
  return out;
}

std::vector<RangeId> ranges_of(const WritePlan& plan) {
  std::vector<RangeId> out;
  for (const WritePlan::Part& part : plan.parts)
    if (part.partition) out.push_back(part.partition->range);
  return out;
}

}  // namespace outlast::fragments
