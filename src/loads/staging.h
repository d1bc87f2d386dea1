#pragma once
#include <boost/asio/awaitable.hpp>
#include <memory>
#include <string>
#include <vector>

#include "gateway/cluster.h"
#include "loads/label.h"
#include "loads/packed_rows.h"
#include "loads/script.h"

namespace outlast::loads {

/// One range's part of a load. Each step is one local transaction that may be repeated: what it did already it does not
/// do again. The range remembers each load in outlast_load_txn (staging → prepared → applied, or aborted); what comes
/// late for a load that has ended is refused there.
/// Thread-safety: one coroutine at a time; others may have a Staging of the same load at the same time.
class Staging {
 public:
  struct Load {
    std::string database, table;
    std::int64_t txn{0};
    bool filter{false};  ///< Rows that do not fit are left out and counted, else they end the load.
  };
  Staging(gateway::Cluster& cluster, Load load, RangeId range);

  /// The next batch: all of it or nothing; with the first one the hidden tables. kUniqueViolation, kNotNullViolation, …
  /// of rows that do not fit. `columns`: which the rows have. `last`: from here on the rows can be applied, whatever
  /// happens to this process.
  boost::asio::awaitable<Result<void>> add(std::vector<std::string> columns, PackedRows rows, bool last,
                                           Patience::Until until);
  /// The staged rows are in the table afterwards, once. Only for a load that is committed.
  boost::asio::awaitable<Result<void>> apply(Patience::Until until);
  /// Nothing of the load is left here, nor will be. Only for a load that is aborted.
  boost::asio::awaitable<Result<void>> sweep(Patience::Until until);
  /// Of a load whose label is removed: the range need not remember it any more.
  boost::asio::awaitable<Result<void>> forget(Patience::Until until);
  /// Batches and rows so far; those whose add() has ended.
  const Part& part() const { return part_; }

 private:
  using Attempt = boost::asio::awaitable<Result<void>> (Staging::*)(gateway::Session&);
  boost::asio::awaitable<Result<void>> repeat(Attempt attempt, Patience::Until until);
  boost::asio::awaitable<Result<void>> in_transaction(Attempt attempt);
  boost::asio::awaitable<Result<void>> add_once(gateway::Session& session);
  boost::asio::awaitable<Result<std::vector<Step>>> opening(gateway::Session& session);
  std::vector<Step> adding() const;
  boost::asio::awaitable<Result<void>> claimed_before(gateway::Session& session);
  boost::asio::awaitable<Result<void>> apply_once(gateway::Session& session);
  std::vector<Step> applying(const Row& look) const;
  boost::asio::awaitable<Result<void>> sweep_once(gateway::Session& session);
  boost::asio::awaitable<Result<void>> forget_once(gateway::Session& session);
  /// What a range knows of the load: state, batches, rows, checksum, the staging table's table (text, empty: gone), how
  /// many other loads have rows there, its columns. Empty when it does not know the load.
  boost::asio::awaitable<Result<Row>> look(gateway::Session& session);
  std::vector<Step> dropping(bool last) const;
  gateway::Statement statement(std::string sql, Row values = {}) const;
  executor::Value txn() const { return load_.txn; }

  gateway::Cluster& cluster_;
  const Load load_;
  const RangeId range_;
  const std::string stage_;
  std::unique_ptr<gateway::Session> session_;
  Part part_;
  struct Batch {
    Insertion into;
    PackedRows rows;
    bool last{false};
    std::int64_t checksum{0}, kept{0};
  } batch_;  ///< The one that add() works on.
  Way way_{Way::kAtOnce};
  Pace pace_{Pace::kTogether};
};

}  // namespace outlast::loads
