#pragma once
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "fragments/plan.h"
#include "fragments/reader.h"
#include "pgtree/names.h"
#include "pgtree/parse.h"

/// From a SELECT to the statements of its fragments.
namespace outlast::fragments {

/// A fragment in the making: its text, part by part.
struct Draft {
  struct Item {
    FragmentColumn column;
    std::string sql;
  };
  std::vector<Item> items;
  bool distinct{false};
  std::string where, group, having, order, limit;
  std::vector<std::string> pushed;

  void add(FragmentColumn column, std::string sql);
  /// `SELECT items FROM table AS alias …`.
  std::string sql(const Source& source) const;
};

/// "alias"."column".
std::string qualified(const Source& source, const std::string& column);
/// A condition as text, nullptr: empty.
Result<std::string> text_of(const std::vector<const pgtree::Node*>& conjuncts);
/// The statement's LIMIT for each partition: what OFFSET skips comes from somewhere, too. Empty: none that could be
/// pushed down.
std::string partition_limit(const PgQuery__SelectStmt& stmt);
/// ORDER BY as text, its ordinals and names of result columns replaced by what they stand for, which `usable` accepts.
/// nullopt: it cannot be pushed down.
std::optional<std::string> order_text(const PgQuery__SelectStmt& stmt,
                                      const std::function<bool(const pgtree::Node&)>& usable);
/// The expression of the SELECT list that an ordinal or a name in ORDER BY means; `item` itself when it is none.
/// nullptr: an ordinal that does not exist.
const pgtree::Node* meant_by(const PgQuery__SelectStmt& stmt, const pgtree::Node& item);

/// The columns that the statement mentions and the filters of this table; ORDER BY and LIMIT when the SELECT reads
/// nothing else and all of its WHERE runs below. The SELECT itself stays as it is.
Result<Draft> draft_rows(const Scope& scope, const Source& source, const Mentioned& mentioned);

/// The groups of a SELECT with aggregates, GROUP BY or DISTINCT over one table. nullopt: not surely right, nothing was
/// changed. Else `scope.stmt` reads the fragment's columns now; its table is still to be renamed.
std::optional<Draft> draft_groups(Scope& scope, pgtree::Arena& arena);

}  // namespace outlast::fragments
