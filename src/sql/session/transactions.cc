#include "sql/session/transactions.h"

#include <utility>

namespace outlast::sql {
namespace asio = boost::asio;
using Action = gateway::Session::SavepointAction;

Result<void> Transactions::begin(bool read_only) {
  if (s_.in_block()) {
    s_.warning(Errc::kActiveTransaction, "there is already a transaction in progress");
    return {};
  }
  if (s_.implicit) {
    s_.implicit = false;
  } else {
    read_only = read_only || s_.settings.is_on("default_transaction_read_only");
    TRY(s_.gateway->begin({.read_only = read_only}));
    s_.settings.begin();
    s_.transaction_since = s_.host.clock.now();
  }
  if (read_only) TRY(s_.settings.set("transaction_read_only", "on", true));
  return {};
}

Result<void> Transactions::ensure_implicit() {
  if (s_.in_transaction()) return {};
  TRY(s_.gateway->begin({.read_only = s_.settings.is_on("default_transaction_read_only")}));
  s_.settings.begin();
  s_.transaction_since = s_.host.clock.now();
  s_.implicit = true;
  return {};
}

asio::awaitable<void> Transactions::drop_portals() {
  auto portals = std::exchange(s_.portals, {});
  for (auto& [name, portal] : portals) co_await portal->rows.close(*s_.gateway);
}

asio::awaitable<Result<std::string>> Transactions::commit() {
  if (!s_.in_block()) s_.warning(Errc::kNoActiveTransaction, "there is no transaction in progress");
  if (!s_.in_transaction()) co_return std::string("COMMIT");
  co_await drop_portals();
  s_.implicit = false;
  auto done = co_await s_.gateway->commit();
  if (!done.ok() || !*done)
    s_.settings.rollback();
  else
    s_.settings.commit();
  if (!done.ok()) co_return std::move(done).error();
  co_return std::string(*done ? "COMMIT" : "ROLLBACK");
}

asio::awaitable<Result<std::string>> Transactions::rollback() {
  if (!s_.in_block()) s_.warning(Errc::kNoActiveTransaction, "there is no transaction in progress");
  if (s_.in_transaction()) {
    co_await drop_portals();
    s_.implicit = false;
    co_await s_.gateway->rollback();
    s_.settings.rollback();
  }
  co_return std::string("ROLLBACK");
}

asio::awaitable<Result<void>> Transactions::savepoint(Action action, std::string name) {
  if (!s_.in_block()) {
    const std::string_view verb = action == Action::kSet       ? "SAVEPOINT"
                                  : action == Action::kRelease ? "RELEASE SAVEPOINT"
                                                               : "ROLLBACK TO SAVEPOINT";
    co_return Error(Errc::kNoActiveTransaction, std::string(verb) + " can only be used in transaction blocks");
  }
  auto done = co_await s_.gateway->savepoint(action, name);
  if (!done.ok()) co_return std::move(done).error();
  if (action == Action::kSet) s_.settings.savepoint(name);
  if (action == Action::kRelease) s_.settings.release(name);
  if (action == Action::kRollbackTo) s_.settings.rollback_to(name);
  co_return Result<void>();
}

asio::awaitable<Result<void>> Transactions::end_implicit() {
  if (!s_.implicit) co_return Result<void>();
  co_await drop_portals();
  s_.implicit = false;
  auto done = co_await s_.gateway->commit();
  if (!done.ok() || !*done)
    s_.settings.rollback();
  else
    s_.settings.commit();
  if (!done.ok()) co_return std::move(done).error();
  if (!*done) co_return Error(Errc::kTransactionLost, "the transaction was rolled back: run it again");
  co_return Result<void>();
}

asio::awaitable<void> Transactions::fail() {
  if (s_.implicit) {
    co_await drop_portals();
    s_.implicit = false;
    co_await s_.gateway->rollback();
    s_.settings.rollback();
  } else if (s_.in_transaction()) {
    s_.gateway->fail_transaction();
  }
}

}  // namespace outlast::sql
