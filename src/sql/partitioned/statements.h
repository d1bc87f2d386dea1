#pragma once
#include <boost/asio/awaitable.hpp>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "compute/plan.h"
#include "fragments/plan.h"
#include "fragments/write.h"
#include "sql/partitioned/tables.h"
#include "sql/session/statement_runner.h"

namespace outlast::sql {

/// The database's partitioned tables when the text may name one of them, else nullptr.
PartitionedSnapshot named_partitioned(const SessionState& state, std::string_view text);

/// Statements over partitioned tables: planned by src/fragments from the client's own text with the values of its
/// parameters, run where their rows are. Thread-safety: the session's strand. Lifetime: of one statement.
class PartitionedStatements {
 public:
  PartitionedStatements(SessionState& state, PartitionedSnapshot tables);

  /// A query or a write. nullopt: it touches no partitioned table, run it as ever.
  boost::asio::awaitable<Result<std::optional<Started>>> run(const Translated& statement,
                                                             std::vector<executor::Value> params, RunMode mode);
  /// EXPLAIN of a query or a write: one text a line.
  boost::asio::awaitable<Result<std::vector<std::string>>> explain(const Translated& statement);

 private:
  using Values = std::vector<executor::Value>;
  boost::asio::awaitable<Result<fragments::SelectPlan>> plan_select(std::string text, const Values& params);
  boost::asio::awaitable<Result<fragments::WritePlan>> plan_write(std::string text, const Values& params, Values keys);
  boost::asio::awaitable<Result<std::optional<Started>>> run_select(const Translated& statement, Values params,
                                                                    RunMode mode);
  boost::asio::awaitable<Result<std::optional<Started>>> run_write(const Translated& statement, Values params,
                                                                   RunMode mode);
  boost::asio::awaitable<Result<Started>> run_part(const Translated& statement, fragments::WritePlan::Part part,
                                                   Values params, RunMode mode);
  boost::asio::awaitable<Result<Started>> insert_query(const Translated& statement, fragments::WritePlan plan,
                                                       Values params);
  /// The rows of INSERT … SELECT, and where they belong.
  struct Gathered {
    std::string table;
    std::vector<std::string> columns;
    std::vector<Values> rows;
    std::size_t ranges{0};  ///< How many partitions; of one of them:
    fragments::Slot slot{0};
    std::optional<fragments::Partition> partition;
  };
  boost::asio::awaitable<Result<Gathered>> query_rows(const Translated& statement, const fragments::WritePlan& plan,
                                                      Values params);
  boost::asio::awaitable<Result<Started>> load_rows(const Translated& statement, Gathered batch);
  boost::asio::awaitable<Result<Values>> calculate_keys(const Translated& statement, std::string sql, Values params);
  boost::asio::awaitable<Result<RangeId>> range_of(const Translated& statement, fragments::Slot slot,
                                                   std::optional<fragments::Partition> known);
  Result<void> admit(const std::vector<RangeId>& ranges) const;
  Result<compute::Plan> compute_plan(const Translated& statement, const fragments::SelectPlan& plan,
                                     const Values& params) const;
  /// Our own text of a part of the statement, and the parameters that it has.
  Result<std::pair<std::string, Values>> part_of(const Translated& statement, const std::string& text,
                                                 const Values& params) const;
  std::string place(RangeId range) const;

  SessionState& s_;
  const std::int64_t now_micros_;
  PlannedTables tables_;
};

/// COPY … TO of a query or a table: the SELECT, in PostgreSQL's SQL.
Result<std::string> copied_select(const Translated& copy);

}  // namespace outlast::sql
