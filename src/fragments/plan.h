#pragma once
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "fragments/table.h"

namespace outlast::fragments {

/// A column of the rows that a fragment sends, and of the temporary table at the gateway that takes them.
struct FragmentColumn {
  std::string name;
  std::string
      declared;  ///< Of a table's own column: its declaration, so that affinity and collation go on. Else empty.
};

/// One statement that runs on each of some partitions; the final statement reads all their rows as one table.
struct Fragment {
  std::string name;   ///< "fragment_1": the table that the final statement names.
  std::string table;  ///< The user's table that it reads.
  std::string sql;    ///< PostgreSQL's SQL, the same for every partition; parameters keep their numbers.
  std::vector<FragmentColumn> columns;
  std::vector<Partition> partitions;  ///< May be empty: then the temporary table stays empty.
  std::size_t partitions_of_table{0};
  std::vector<std::string> pushed;  ///< "filter", "partial aggregates" …: for EXPLAIN.
};
/// CREATE TABLE for the rows, in SQLite's SQL.
std::string rows_table(const Fragment& fragment);

/// How a SELECT runs.
struct SelectPlan {
  enum class Kind : std::uint8_t {
    kHome,       ///< Touches no partitioned table: as ever, in the database's own range.
    kOneRange,   ///< All that it can touch lies in `range`: the statement runs there as it is.
    kFragments,  ///< `fragments`, then `final_sql` in a SQLite at the gateway over their rows.
  };
  Kind kind{Kind::kHome};
  RangeId range;
  std::vector<Fragment> fragments;
  std::string final_sql;  ///< PostgreSQL's SQL; both kinds of text go through sql::translate().
};

/// What is known when a statement is about to run.
struct PlanContext {
  const TableLookup& find;
  std::span<const Value> parameters{};  ///< Values of $1 …, where they are bound; used for choosing partitions only.
  std::optional<std::int64_t> now_micros{};  ///< The transaction's time, so that WHERE may compare with now() anywhere.
};

/// Plans one SELECT over tables of which some are partitioned. Pure: reads nothing but `text` and `context`.
///
/// Every table that is read becomes a fragment with the columns that the statement names and the filters that only this
/// table decides. A SELECT over one table goes further: partial count, sum, avg, min, max, bool_and, bool_or and
/// string_agg with GROUP BY; whole groups when they cannot cross a partition; DISTINCT; ORDER BY with LIMIT. The final
/// statement is the client's own with fragments in place of tables. What is not surely the same when it runs below is
/// left to the final statement. Types of result columns come from translating the client's own text.
///
/// As in PostgreSQL's parallel plans, sums of floats may differ in their last digits with the order of rows, string_agg
/// without an order has any, and a bigint sum may overflow in a partition although the total would fit.
///
/// Errors: kUndefinedTable for a name that `find` does not know beside a partitioned table; kSyntax for FOR UPDATE over
/// several ranges; those of the grammar. Source: docs/adr/0010-sqlite-over-fragments.md.
Result<SelectPlan> plan_select(std::string_view text, const PlanContext& context);

/// Lines of EXPLAIN. `place`: who leads a range, for people ("node 2").
std::vector<std::string> explain(const SelectPlan& plan, const std::function<std::string(RangeId)>& place);

}  // namespace outlast::fragments
