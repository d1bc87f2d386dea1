#pragma once
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/session.h"

namespace outlast::loads {

using Row = std::vector<executor::Value>;
using Rows = std::vector<Row>;

/// Outlast's own statement, hidden tables included.
gateway::Statement own_statement(std::string sql, std::optional<RangeId> range, Row values = {});
/// All rows of a query.
boost::asio::awaitable<Result<Rows>> read_rows(gateway::Session& session, gateway::Statement statement);
boost::asio::awaitable<Result<std::int64_t>> run_write(gateway::Session& session, gateway::Statement statement);
/// The COMMIT of a transaction that must not have failed.
boost::asio::awaitable<Result<void>> commit(gateway::Session& session);

std::int64_t number_of(const executor::Value& value);
std::string text_of(const executor::Value& value);
std::string name_sql(std::string_view name);  ///< "name" with quotes doubled.
std::string text_sql(std::string_view text);

/// For how long a repeatable step is tried again.
class Patience {
 public:
  using Until = std::chrono::steady_clock::time_point;
  explicit Patience(Until until) : until_(until) {}
  /// Ok after a pause: try once more. The error when asking again does not help, or time is up.
  boost::asio::awaitable<Result<void>> after(Error failed);

 private:
  Until until_;
  Duration pause_{std::chrono::milliseconds(10)};
};
/// The cause may go away by itself, or the outcome is not known: a step that can be repeated is repeated.
bool may_try_again(Errc code);

/// A piece of work that goes on beside its starter, on the starter's strand. Whoever drops a Beside does not wait for
/// it: the work holds what it uses.
class Beside {
 public:
  /// Nothing runs now.
  boost::asio::awaitable<void> start(boost::asio::awaitable<Result<void>> work);
  /// How it ended; Ok when nothing was started.
  boost::asio::awaitable<Result<void>> join();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// Runs all, side by side; the first error. The caller's executor must be a strand or a single thread.
boost::asio::awaitable<Result<void>> run_all(std::vector<boost::asio::awaitable<Result<void>>> work);

}  // namespace outlast::loads
