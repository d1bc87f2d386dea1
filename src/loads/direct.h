#pragma once
#include <memory>
#include <string>
#include <vector>

#include "loads/labels.h"
#include "loads/packed_rows.h"

namespace outlast::loads {

/// Rows of a table in the database's own range: one transaction with their label, opened by the first batch. While it
/// is small it is kept in memory too, and run again unseen when its leaseholder goes. Thread-safety: one coroutine at a
/// time.
class Direct {
 public:
  Direct(gateway::Cluster& cluster, std::string database, std::string table, std::vector<std::string> columns,
         bool filter);
  boost::asio::awaitable<Result<void>> add(PackedRows rows, Patience::Until until);
  /// Rows and label together; `claimed`: the label is there already. The state afterwards: kDone, kAborted when
  /// somebody aborted the load before, kPreparing when another load has the label.
  boost::asio::awaitable<Result<State>> commit(Label label, bool claimed, Labels* labels, Patience::Until until);
  boost::asio::awaitable<void> abort();
  std::int64_t kept() const { return kept_; }

 private:
  boost::asio::awaitable<Result<void>> begin();
  boost::asio::awaitable<Result<void>> insert(const PackedRows* rows);
  boost::asio::awaitable<Result<void>> run_again();
  boost::asio::awaitable<Result<bool>> commit_once(Label label, bool claimed);
  boost::asio::awaitable<Result<State>> give_up(Label label, Error why, Labels* labels, Patience::Until until);

  static constexpr std::size_t kMemory = 16U << 20;
  gateway::Cluster& cluster_;
  const std::string database_;
  const Insertion into_;
  Way way_;
  std::unique_ptr<gateway::Session> session_;
  std::vector<PackedRows> rows_;  ///< All so far, while `complete_`; else the latest.
  std::size_t bytes_{0};
  bool complete_{true};
  std::int64_t kept_{0};
};

}  // namespace outlast::loads
