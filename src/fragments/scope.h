#pragma once
#include <string>
#include <vector>

#include "fragments/table.h"
#include "pgtree/tree.h"

/// What a SELECT reads, whose a column is, and which expressions may run somewhere else than written.
namespace outlast::fragments {

/// A table in a FROM list.
struct Source {
  std::string alias;
  PgQuery__RangeVar* node{nullptr};
  const Table* table{nullptr};
  std::vector<const pgtree::Node*> filters;     ///< Conjuncts that only this table decides.
  std::vector<const pgtree::Node*> candidates;  ///< Every conjunct that a row of this table must pass.
  std::vector<bool> keep;                       ///< Of table->partitions.
};

/// One SELECT with its tables. Names that it does not know may be those of an outer SELECT.
struct Scope {
  PgQuery__SelectStmt* stmt{nullptr};
  std::vector<Source> sources;
  bool opaque{false};      ///< Reads subqueries, functions or common tables, too: an unqualified name may be theirs.
  bool top{false};         ///< The statement itself: types of its columns are known from the client's text.
  bool subqueries{false};  ///< Its expressions contain subqueries.

  /// The source whose column it surely is; nullptr: another's, nobody's, or not sure.
  const Source* owner(const PgQuery__ColumnRef& reference) const;
  /// Every column in `node` is surely of `source`.
  bool owns(const Source& source, const pgtree::Node& node) const;
};

/// What happens when an expression runs on other rows, at another place or time than written.
enum class Purity : std::uint8_t {
  kSafe,      ///< The same value, and never an error.
  kFallible,  ///< The same value; errors (overflow, bad cast) may come for rows that others would have excluded.
  kNo,        ///< Another value, or nobody knows: subqueries, volatile and unknown functions.
};
/// `aggregates`: calls of aggregate functions count as their arguments do.
Purity purity(const pgtree::Node& node, bool aggregates = false);
bool is_aggregate(const PgQuery__FuncCall& call);
/// An aggregate outside of subqueries and windows.
bool has_aggregate(const pgtree::Node& node);
/// A call with OVER outside of subqueries.
bool has_window(const pgtree::Node& node);
bool has_subquery(const pgtree::Node& node);

/// The parts of an AND; the condition itself when it is none.
std::vector<const pgtree::Node*> conjuncts(const pgtree::Node* condition);

}  // namespace outlast::fragments
