// The simple protocol: one Query, any number of statements, one implicit transaction.
#include <algorithm>

#include "sql/pgwire/messages.h"
#include "sql/session/client_session.h"

namespace outlast::sql {
namespace asio = boost::asio;

asio::awaitable<ClientSession::Next> ClientSession::on_query(pgwire::Query query) {
  if (const auto it = state_.portals.find(""); it != state_.portals.end()) {
    const auto unnamed = it->second;  // a simple query takes the unnamed portal's place
    state_.portals.erase(it);
    co_await unnamed->rows.close(*state_.gateway);
  }
  auto done = co_await run_query(std::move(query.text));
  if (done.ok()) done = co_await transactions_.end_implicit();
  if (!done.ok()) {
    const Next next = co_await report(std::move(done).error());
    if (next == Next::kClose) co_return next;
  }
  co_return co_await ready();
}

asio::awaitable<Result<void>> ClientSession::run_query(std::string text) {
  if (!pgwire::is_valid_text(text))
    co_return Error(Errc::kInvalidText, "invalid byte sequence for encoding \"UTF8\" in the statement");
  auto statements = translate(text, {}, session_names(state_));
  if (!statements.ok()) co_return std::move(statements).error();
  std::erase_if(*statements, [](const Translated& t) { return t.kind == StatementKind::kEmpty; });
  if (statements->empty()) io_.out.empty_query_response();
  const bool alone = statements->size() == 1;
  for (Translated& statement : *statements) {
    if (!statement.parameters.empty() && statement.kind != StatementKind::kPrepare)
      co_return Error(Errc::kUndefinedObject, "there is no parameter $1: bind one with the extended protocol");
    auto portal = std::make_shared<Portal>();
    portal->prepared = make_prepared(std::move(statement), {});
    portal->describe_first = true;
    portal->simple = true;
    if (auto done = co_await portals_.execute(portal, RunMode{.alone = alone}); !done.ok()) co_return done;
  }
  co_return Result<void>();
}

}  // namespace outlast::sql
