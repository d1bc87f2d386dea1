#pragma once
#include <boost/asio/awaitable.hpp>
#include <memory>

#include "sql/session/copy.h"
#include "sql/session/session_state.h"
#include "sql/session/statement_runner.h"

namespace outlast::sql {

/// Runs portals and writes what they give to the client: rows, CommandComplete, PortalSuspended. The one path of simple
/// and extended protocol. Errors of the statement come back as a Result, with the rows before them already written; an
/// error of the connection is kUnavailable and shows again at the next read. Thread-safety: the session's strand.
class PortalRunner {
 public:
  PortalRunner(SessionState& state, Transactions& transactions)
      : s_(state), runner_(state, transactions), copy_(state, transactions) {}
  StatementRunner& runner() { return runner_; }
  /// `max_rows` 0: all.
  /// Admitted, counted and accounted for as one statement.
  boost::asio::awaitable<Result<void>> execute(std::shared_ptr<Portal> portal, RunMode mode);

 private:
  boost::asio::awaitable<Result<void>> run(std::shared_ptr<Portal> portal, RunMode mode);
  boost::asio::awaitable<Result<void>> fetch_cursor(std::shared_ptr<Portal> portal);
  /// Sends up to `limit` rows (0: all) of `from`, encoded as `formats` ask. The number sent.
  boost::asio::awaitable<Result<std::uint64_t>> send_rows(std::shared_ptr<Portal> from,
                                                          std::vector<std::int16_t> formats, std::uint64_t limit,
                                                          bool skip_output);
  Result<void> check_formats(const Portal& portal) const;

  SessionState& s_;
  StatementRunner runner_;
  Copy copy_;
};

}  // namespace outlast::sql
