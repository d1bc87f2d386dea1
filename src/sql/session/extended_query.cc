// The extended protocol: Parse, Bind, Describe, Execute, Close, until Sync.
#include "sql/session/client_session.h"

namespace outlast::sql {
namespace asio = boost::asio;
using executor::Value;
using Kind = StatementKind;
namespace {
bool may_end_failed_transaction(Kind kind) {
  return kind == Kind::kCommit || kind == Kind::kRollback || kind == Kind::kRollbackTo || kind == Kind::kEmpty;
}
Error in_failed_transaction() {
  return Error(Errc::kInFailedTransaction,
               "current transaction is aborted, commands ignored until end of transaction block");
}

Result<void> check_format_codes(const std::vector<std::int16_t>& codes) {
  for (const std::int16_t code : codes)
    if (code != 0 && code != 1)
      return Error(Errc::kInvalidArgument,
                   "unsupported format code: " + std::to_string(code) + " (0 is text, 1 is binary)");
  return {};
}

Result<std::vector<Value>> decode_parameters(const pgwire::Bind& bind, const std::vector<Oid>& types) {
  std::vector<Value> values;
  for (std::size_t i = 0; i < bind.parameters.size(); ++i) {
    if (!bind.parameters[i]) {
      values.emplace_back(executor::Null{});
      continue;
    }
    const std::string& bytes = *bind.parameters[i];
    const bool binary = format_of(bind.parameter_formats, i) == 1;
    const bool textual = types[i] != oid::kBytea;
    if (!binary && textual && !pgwire::is_valid_text(bytes))
      return Error(Errc::kInvalidText,
                   "invalid byte sequence for encoding \"UTF8\" in parameter $" + std::to_string(i + 1));
    auto value = binary ? decode_binary(bytes, types[i]) : decode_text(bytes, types[i]);
    if (!value.ok()) return std::move(value).error().within("parameter $" + std::to_string(i + 1));
    values.push_back(*std::move(value));
  }
  return values;
}
}  // namespace

asio::awaitable<Result<void>> ClientSession::on_extended(pgwire::Message message) {
  if (auto* parse = std::get_if<pgwire::Parse>(&message)) co_return co_await on_parse(std::move(*parse));
  if (auto* bind = std::get_if<pgwire::Bind>(&message)) co_return co_await on_bind(std::move(*bind));
  if (auto* describe = std::get_if<pgwire::Describe>(&message)) co_return co_await on_describe(std::move(*describe));
  if (auto* execute = std::get_if<pgwire::Execute>(&message)) co_return co_await on_execute(std::move(*execute));
  if (auto* close = std::get_if<pgwire::Close>(&message)) co_return co_await on_close(std::move(*close));
  co_return Error(Errc::kInternal, "a message reached the extended protocol that is none of its own");
}

asio::awaitable<Result<void>> ClientSession::on_parse(pgwire::Parse parse) {
  auto statement = translate_one(parse.text, parse.parameter_types, session_names(state_));
  if (!statement.ok()) co_return std::move(statement).error();
  if (state_.failed() && !may_end_failed_transaction(statement->kind)) co_return in_failed_transaction();
  if (!parse.name.empty() && state_.prepared.contains(parse.name))
    co_return Error(Errc::kDuplicateStatement, "prepared statement \"" + parse.name + "\" already exists");
  state_.prepared[parse.name] = make_prepared(*std::move(statement), parse.parameter_types, std::move(parse.text));
  io_.out.parse_complete();
  co_return Result<void>();
}

asio::awaitable<Result<void>> ClientSession::on_bind(pgwire::Bind bind) {
  auto found = portals_.runner().find_prepared(bind.statement);
  if (!found.ok()) co_return std::move(found).error();
  const Prepared& prepared = **found;
  if (state_.failed() && !may_end_failed_transaction(prepared.statement.kind)) co_return in_failed_transaction();
  const std::size_t given = bind.parameters.size(), formats = bind.parameter_formats.size();
  if (formats > 1 && formats != given)
    co_return Error(Errc::kProtocolViolation, "bind message has " + std::to_string(formats) +
                                                  " parameter formats but " + std::to_string(given) + " parameters");
  if (given != prepared.parameters.size())
    co_return Error(Errc::kProtocolViolation, "bind message supplies " + std::to_string(given) +
                                                  " parameters, but prepared statement \"" + bind.statement +
                                                  "\" requires " + std::to_string(prepared.parameters.size()));
  for (const auto* codes : {&bind.parameter_formats, &bind.result_formats})
    if (auto checked = check_format_codes(*codes); !checked.ok()) co_return checked;
  auto params = decode_parameters(bind, prepared.parameters);
  if (!params.ok()) co_return std::move(params).error();
  if (const auto old = state_.portals.find(bind.portal); old != state_.portals.end()) {
    if (!bind.portal.empty()) co_return Error(Errc::kDuplicateObject, "cursor \"" + bind.portal + "\" already exists");
    const auto replaced = old->second;
    state_.portals.erase(old);
    co_await replaced->rows.close(*state_.gateway);
  }
  auto portal = std::make_shared<Portal>();
  portal->prepared = *found;
  portal->params = *std::move(params);
  portal->formats = std::move(bind.result_formats);
  state_.portals[bind.portal] = std::move(portal);
  io_.out.bind_complete();
  co_return Result<void>();
}

asio::awaitable<Result<void>> ClientSession::on_describe(pgwire::Describe describe) {
  std::shared_ptr<const Prepared> prepared;
  std::shared_ptr<Portal> portal;
  if (describe.kind == 'S') {
    auto found = portals_.runner().find_prepared(describe.name);
    if (!found.ok()) co_return std::move(found).error();
    prepared = *found;
  } else {
    const auto it = state_.portals.find(describe.name);
    if (it == state_.portals.end())
      co_return Error(Errc::kUndefinedCursor, "portal \"" + describe.name + "\" does not exist");
    portal = it->second;
    prepared = portal->prepared;
  }
  const Translated& statement = prepared->statement;
  if (state_.failed() && statement.returns_rows) co_return in_failed_transaction();
  if (portal && portal->state != Portal::State::kNew && portal->rows.columns() > 0) {
    io_.out.row_description(portal->rows.fields(portal->formats));
    co_return Result<void>();
  }
  // The Execute that follows will learn the columns anyway: one way to the leaseholder instead of two.
  if (portal && !StatementRunner::describes_itself(statement) && io_.next_type() == 'E') {
    portal->describe_first = true;
    co_return Result<void>();
  }
  auto fields = co_await portals_.runner().describe(statement, portal ? portal->formats : std::vector<std::int16_t>());
  if (!fields.ok()) co_return std::move(fields).error();
  if (!portal) io_.out.parameter_description(prepared->parameters);
  if (*fields)
    io_.out.row_description(**fields);
  else
    io_.out.no_data();
  co_return Result<void>();
}

asio::awaitable<Result<void>> ClientSession::on_execute(pgwire::Execute execute) {
  const auto it = state_.portals.find(execute.portal);
  if (it == state_.portals.end())
    co_return Error(Errc::kUndefinedCursor, "portal \"" + execute.portal + "\" does not exist");
  const std::shared_ptr<Portal> portal = it->second;
  // With Sync right behind, the statement is its own transaction and needs no BEGIN and COMMIT around it. A write that
  // stops at a row limit must commit later, at Sync.
  const Kind kind = portal->prepared->statement.kind;
  const bool alone = io_.next_type() == 'S' && !(kind == Kind::kWrite && execute.max_rows > 0);
  co_return co_await portals_.execute(portal, RunMode{.alone = alone, .max_rows = execute.max_rows});
}

asio::awaitable<Result<void>> ClientSession::on_close(pgwire::Close close) {
  if (close.kind == 'S') {
    if (const auto it = state_.prepared.find(close.name); it != state_.prepared.end()) state_.prepared.erase(it);
  } else if (const auto it = state_.portals.find(close.name); it != state_.portals.end()) {
    const auto portal = it->second;
    state_.portals.erase(it);
    co_await portal->rows.close(*state_.gateway);
  }
  io_.out.close_complete();
  co_return Result<void>();
}

asio::awaitable<ClientSession::Next> ClientSession::on_sync() {
  skip_to_sync_ = false;
  auto ended = co_await transactions_.end_implicit();
  if (!ended.ok()) {
    const Next next = co_await report(std::move(ended).error());
    if (next == Next::kClose) co_return next;
  }
  if (!state_.in_transaction()) co_await transactions_.drop_portals();
  co_return co_await ready();
}

}  // namespace outlast::sql
