#pragma once
#include <boost/asio/awaitable.hpp>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fragments/write.h"
#include "gateway/cluster.h"
#include "loads/direct.h"
#include "loads/labels.h"
#include "loads/staging.h"

namespace outlast::loads {

struct LoadOptions {
  std::string database, table;
  std::string label;                 ///< Empty: one is made up.
  std::vector<std::string> columns;  ///< Those that the rows have, in order; empty: all that can be given.
  Duration timeout{std::chrono::minutes(10)};
  double max_filter_ratio{0};         ///< Of all rows, how many may be left out because they do not fit the table.
  bool two_steps{false};              ///< prepare() and commit() come apart: rows of any table are staged.
  std::size_t batch_bytes{1U << 20};  ///< Rows wait in memory for a batch of this size, for each partition.
};

class Load;
struct Opened {
  std::unique_ptr<Load> load;     ///< Null: the label is taken,
  std::optional<Label> existing;  ///< by this load.
};

/// Rows on their way into a table, all or none of them, exactly once per label (protocol A9). A table in one range gets
/// them in one transaction; rows for several ranges are staged beside their tables and moved there after the commit
/// point. Whoever drops a Load before its end leaves it to the keeper, which aborts what was not committed.
/// Thread-safety: one coroutine at a time, on a strand. Lifetime: the cluster outlives it.
class Load {
 public:
  /// kUndefinedDatabase, kUndefinedTable, kUndefinedColumn; kSyntax when the rows lack the partition column.
  static boost::asio::awaitable<Result<Opened>> open(gateway::Cluster& cluster, LoadOptions options);

  const std::vector<std::string>& columns() const { return options_.columns; }
  /// Of the table; not those that are generated.
  const fragments::Table& table() const { return table_; }
  const Label& label() const { return label_; }
  /// Values as SQLite stores them. The first error of a row ends the load, unless it filters. Whatever the error:
  /// nothing of the load is seen, abort() says so to the label. What is added goes on its way beside the caller, so
  /// that an error may come with a later add(), settle() or finish().
  boost::asio::awaitable<Result<void>> add(PackedRows rows);
  boost::asio::awaitable<Result<void>> add(Rows rows) { return add(PackedRows(rows)); }
  /// Nothing is on its way any more: before another strand goes on with the load.
  boost::asio::awaitable<Result<void>> settle();
  /// A row that could not even be read.
  void count_unread(const std::string& reason);
  void count_bytes(std::size_t bytes) { label_.counts.bytes += static_cast<std::int64_t>(bytes); }
  /// prepare() and commit().
  boost::asio::awaitable<Result<Label>> finish();
  /// All rows are safe; nothing is visible. Ends adding. kInvalidArgument for too many filtered rows.
  boost::asio::awaitable<Result<void>> prepare();
  /// kInvalidState, and the load: another one that came under the same label meanwhile.
  const std::optional<Label>& taken_by() const { return taken_by_; }
  /// kDone: the rows are visible. kCommitted: they will be, a partition could not take them yet and Label::error says
  /// why; the keeper goes on. kUnknownOutcome: ask for the label.
  boost::asio::awaitable<Result<Label>> commit();
  boost::asio::awaitable<void> abort(std::string reason);

 private:
  struct Target {
    std::shared_ptr<Staging> staging;
    PackedRows rows;
  };
  struct Where {
    std::optional<RangeId> range;  ///< None: a partition that is still to be created,
    fragments::Slot slot{0};       ///< this one.
  };
  Load(gateway::Cluster& cluster, LoadOptions options);
  boost::asio::awaitable<Result<void>> look_at_table();
  boost::asio::awaitable<Result<bool>> look_at_label();
  boost::asio::awaitable<Result<bool>> claim_label();
  boost::asio::awaitable<Result<Label>> commit_direct();
  Error label_taken() const;
  Result<Where> route(std::span<const executor::ValueView> row);
  boost::asio::awaitable<Result<Target*>> target_in(Where where);
  PackedRows take_rows(Target& target);
  boost::asio::awaitable<Result<void>> add_direct(PackedRows rows);
  boost::asio::awaitable<Result<void>> stage(PackedRows rows);
  boost::asio::awaitable<Result<void>> flush();
  boost::asio::awaitable<Result<void>> stage_last();
  boost::asio::awaitable<Result<void>> mark_prepared();
  void count_kept();

  gateway::Cluster& cluster_;
  LoadOptions options_;
  Labels labels_;
  Label label_;
  Patience::Until until_;
  std::string first_reason_;
  fragments::Table table_;
  std::optional<fragments::RowRouter> router_;  ///< The table is partitioned.
  std::shared_ptr<Direct> direct_;
  std::optional<PackedRows> held_;  ///< Of a direct load that has not claimed its label: all of its rows so far.
  std::optional<Label> taken_by_;
  std::map<RangeId, Target> targets_;
  Row key_;                      ///< A row that has nothing but what it is routed by.
  std::size_t waiting_{0};       ///< Bytes of rows in memory.
  Beside on_its_way_;            ///< Rows that have left memory here, one batch of each target at most.
  std::optional<Error> failed_;  ///< Nothing more is taken.
};

/// What to do with a label without the Load that made it: through any node.
boost::asio::awaitable<Result<std::optional<Label>>> find_label(gateway::Cluster& cluster, std::string database,
                                                                std::string label);
/// A prepared load. kInvalidState when it is not prepared; kNotFound.
boost::asio::awaitable<Result<Label>> commit_label(gateway::Cluster& cluster, std::string database, std::string label);
boost::asio::awaitable<Result<Label>> abort_label(gateway::Cluster& cluster, std::string database, std::string label,
                                                  std::string reason);

/// After the commit point, by whoever gets there: the rows of all parts into their tables, then DONE. Repeatable.
/// `own`: those of whoever has staged the rows, which have their ways to the ranges already.
using Stagings = std::map<RangeId, std::shared_ptr<Staging>>;
boost::asio::awaitable<Result<Label>> apply_committed(gateway::Cluster& cluster, std::string database, Label label,
                                                      Patience::Until until, Stagings own = {});
/// Of an aborted load: nothing of it stays anywhere. Repeatable.
boost::asio::awaitable<Result<void>> sweep_aborted(gateway::Cluster& cluster, std::string database, Label label,
                                                   Patience::Until until);

/// Of an ended one: its ranges and then its label forget it.
boost::asio::awaitable<Result<void>> forget_ended(gateway::Cluster& cluster, std::string database, Label label,
                                                  Patience::Until until);

}  // namespace outlast::loads
