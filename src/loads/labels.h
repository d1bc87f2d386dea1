#pragma once
#include <boost/asio/awaitable.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/cluster.h"
#include "loads/label.h"
#include "loads/steps.h"

namespace outlast::loads {

/// The labels of one database, in its own range (outlast_load_label). Whatever becomes of a load is decided by one
/// compare-and-swap here; an answer that got lost is asked for again, never guessed.
/// Thread-safety: one coroutine at a time.
class Labels {
 public:
  Labels(gateway::Cluster& cluster, std::string database) : cluster_(cluster), database_(std::move(database)) {}

  /// A session of this database, outside a transaction.
  boost::asio::awaitable<Result<gateway::Session*>> session();
  void drop_session() { session_.reset(); }

  /// The load that has this label now, else the latest of those that were aborted.
  boost::asio::awaitable<Result<std::optional<Label>>> find(std::string label, Patience::Until until);
  boost::asio::awaitable<Result<std::optional<Label>>> find_txn(std::int64_t txn, Patience::Until until);
  /// Every label that may need something: not DONE, or older than `before`.
  boost::asio::awaitable<Result<std::vector<Label>>> unfinished(std::int64_t before, Patience::Until until);
  /// False: another load has the label.
  boost::asio::awaitable<Result<bool>> insert(Label label, Patience::Until until);
  /// Writes all of `label` but its state if it is in one of `from`, and then moves it to `to`. The state afterwards:
  /// `to` means that it has happened, now or before.
  boost::asio::awaitable<Result<State>> move(Label label, std::vector<State> from, State to, Patience::Until until);
  boost::asio::awaitable<Result<void>> set_swept(std::int64_t txn, Patience::Until until);
  boost::asio::awaitable<Result<void>> set_error(std::int64_t txn, std::string error, Patience::Until until);
  boost::asio::awaitable<Result<void>> remove(std::int64_t txn, Patience::Until until);
  /// What insert() and move() run, for a transaction that has rows beside it.
  static gateway::Statement insert_statement(const Label& label);
  static gateway::Statement move_statement(const Label& label, const std::vector<State>& from, State to,
                                           std::int64_t now);
  /// insert_statement() found no place for a label.
  static bool lacks_tables(const Error& error);
  boost::asio::awaitable<Result<void>> make_tables(Patience::Until until);

 private:
  boost::asio::awaitable<Result<Rows>> read(gateway::Statement statement, Patience::Until until);
  boost::asio::awaitable<Result<std::int64_t>> write(gateway::Statement statement, Patience::Until until);

  gateway::Cluster& cluster_;
  const std::string database_;
  std::unique_ptr<gateway::Session> session_;
};

/// The commit point may have been passed or not.
Error unknown_outcome();
/// Somebody else has moved the label to `state`.
Error ended_by_others(State state);

}  // namespace outlast::loads
