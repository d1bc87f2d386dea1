#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fragments/plan.h"

namespace outlast::fragments {

/// How an INSERT, UPDATE or DELETE runs.
struct WritePlan {
  enum class Kind : std::uint8_t {
    kHome,   ///< Touches no partitioned table.
    kParts,  ///< `parts`, one statement for each partition; one part: an ordinary statement of that range. Several:
             ///< each is complete by itself, all of them are not one transaction.
    kKeys,   ///< Keys of an INSERT are calculated: run `keys_sql` at the gateway (a row of one value for each key, in
             ///< order) and plan again with the values.
    kQuery,  ///< INSERT … SELECT: run `query_sql` as a SELECT; each row goes by `RowRouter`, as COPY's do.
  };
  struct Part {
    Slot slot{0};
    std::optional<Partition> partition;  ///< nullopt: a RANGE partition that is still to be created.
    std::string sql;                     ///< PostgreSQL's SQL; parameters keep their numbers.
  };
  Kind kind{Kind::kHome};
  std::vector<Part> parts;
  std::string keys_sql;
  std::string query_sql;
  std::vector<std::string> query_columns;  ///< kQuery: the columns that the rows fill, in order.
};

/// `keys`: what `keys_sql` gave, empty before. Refused with a sentence (kSyntax): to change the partition column of a
/// row, which would have to move; INSERT without it; subqueries, FROM, USING and WITH in a write to a partitioned
/// table, because a partition sees no other range. kNotNullViolation and kInvalidDatetime of keys.
Result<WritePlan> plan_write(std::string_view text, const PlanContext& context, std::span<const Value> keys = {});

/// Where the rows of COPY, ingest and INSERT … SELECT go.
class RowRouter {
 public:
  /// `columns`: those that the rows have; empty: all of the table. kSyntax when the partition column is not among them.
  /// `table` outlives the router.
  static Result<RowRouter> make(const Table& table, std::span<const std::string> columns);
  struct Target {
    Slot slot;
    std::optional<Partition> partition;  ///< nullopt: a RANGE partition that is still to be created.
  };
  Result<Target> route(std::span<const Value> row) const;
  std::size_t key_position() const { return position_; }

 private:
  RowRouter(const Table& table, std::size_t position) : table_(&table), position_(position) {}
  const Table* table_;
  std::size_t position_;
};

/// Whether an explicit transaction may run a statement that touches `ranges`, `bound` being the range that it has
/// touched so far: all in one range, because a transaction is SQLite's in one file. kActiveTransaction (25001), before
/// anything is done.
Result<void> admit_in_transaction(std::optional<RangeId> bound, std::span<const RangeId> ranges);
/// The ranges that a plan touches, each once; empty for kHome, kKeys and kQuery.
std::vector<RangeId> ranges_of(const SelectPlan& plan);
std::vector<RangeId> ranges_of(const WritePlan& plan);

}  // namespace outlast::fragments
