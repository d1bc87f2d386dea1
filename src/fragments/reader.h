#pragma once
#include <deque>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "fragments/plan.h"
#include "fragments/scope.h"

namespace outlast::fragments {

/// Column names that a statement mentions anywhere, so that no fragment leaves one out. By name only: a column of the
/// same name in another table is sent for nothing, never missed.
struct Mentioned {
  std::set<std::string> names;  ///< Of columns, and of the tables before them.
  std::set<std::string> stars;  ///< "t.*".
  bool every{false};            ///< "*" or NATURAL JOIN.
  bool needs(const Source& source, const std::string& column) const {
    return every || names.contains(column) || stars.contains(source.alias);
  }
};

/// Finds every SELECT of a statement and what it reads, in subqueries, common tables and set operations too.
class Reader {
 public:
  explicit Reader(const PlanContext& context) : context_(context) {}
  void read(PgQuery__SelectStmt& stmt);

  std::deque<Scope> scopes;  ///< Inner before outer; addresses stay.
  Mentioned mentioned;
  std::string unknown;           ///< A table that the lookup does not know; empty: none.
  std::set<std::string> common;  ///< Names of all common tables.
  bool partitioned{false};

 private:
  using Names = std::vector<std::string>;
  /// Of a part of FROM: the sources whose rows are never filled up with NULLs by it.
  using Kept = std::vector<std::size_t>;
  void select(PgQuery__SelectStmt& stmt, Names common, bool top);
  void expression(pgtree::Node& node, const Names& common);
  Kept from_item(Scope& scope, pgtree::Node& node, const Names& common);
  Kept table(Scope& scope, PgQuery__RangeVar& node, const Names& common);
  Kept join(Scope& scope, PgQuery__JoinExpr& join, const Names& common);
  void filter(Scope& scope, const Kept& kept, const pgtree::Node* condition);
  void choose(Scope& scope);
  void mention(const pgtree::Node& node);

  const PlanContext& context_;
};

}  // namespace outlast::fragments
