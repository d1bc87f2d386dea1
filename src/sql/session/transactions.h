#pragma once
#include <boost/asio/awaitable.hpp>
#include <string>

#include "sql/session/session_state.h"

namespace outlast::sql {

/// Begins and ends transactions as PostgreSQL does, the implicit ones too (several statements in one Query, or a
/// pipeline until Sync), and keeps settings and portals in step. Thread-safety: the session's strand.
class Transactions {
 public:
  explicit Transactions(SessionState& state) : s_(state) {}

  /// BEGIN. Inside a transaction only a warning; an implicit transaction becomes the client's own.
  Result<void> begin(bool read_only);
  /// Makes sure that a transaction is open, an implicit one if need be.
  Result<void> ensure_implicit();
  /// COMMIT, END: the command tag, "ROLLBACK" when the transaction had failed.
  boost::asio::awaitable<Result<std::string>> commit();
  /// ROLLBACK, ABORT.
  boost::asio::awaitable<Result<std::string>> rollback();
  boost::asio::awaitable<Result<void>> savepoint(gateway::Session::SavepointAction action, std::string name);
  /// End of a Query or Sync: commits what ensure_implicit() opened.
  boost::asio::awaitable<Result<void>> end_implicit();
  /// A statement failed: an implicit transaction is rolled back, the client's own is failed.
  boost::asio::awaitable<void> fail();
  /// Portals die with their transaction.
  boost::asio::awaitable<void> drop_portals();

 private:
  SessionState& s_;
};

}  // namespace outlast::sql
