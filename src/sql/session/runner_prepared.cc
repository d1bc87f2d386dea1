// PREPARE, EXECUTE, DEALLOCATE, DISCARD and cursors.
#include "sql/partitioned/statements.h"
#include "sql/session/statement_runner.h"

namespace outlast::sql {
namespace asio = boost::asio;
using executor::Value;

namespace {
Error no_such_statement(const std::string& name) {
  return Error(Errc::kUndefinedStatement, name.empty() ? std::string("unnamed prepared statement does not exist")
                                                       : "prepared statement \"" + name + "\" does not exist");
}
}  // namespace

Result<std::shared_ptr<const Prepared>> StatementRunner::find_prepared(const std::string& name) const {
  const auto it = s_.prepared.find(name);
  if (it == s_.prepared.end()) return no_such_statement(name);
  if (it->second->untranslated) {
    const Prepared& moved = *it->second;
    ASSIGN_OR_RETURN(Translated again, translate_one(moved.text, moved.given, session_names(s_)));
    auto prepared = make_prepared(std::move(again), moved.given, moved.text);
    prepared->carried = moved.carried;
    it->second = std::move(prepared);
  }
  return it->second;
}

Result<Started> StatementRunner::prepare(const Translated& t) {
  if (s_.prepared.contains(t.name))
    return Error(Errc::kDuplicateStatement, "prepared statement \"" + t.name + "\" already exists");
  ASSIGN_OR_RETURN(Translated inner, translate_one(t.inner_sql, t.parameters, session_names(s_)));
  s_.prepared[t.name] = make_prepared(std::move(inner), t.parameters, t.inner_sql);
  return Started{std::nullopt, t.tag};
}

asio::awaitable<Result<Started>> StatementRunner::run_execute(Translated t, RunMode mode) {
  auto found = find_prepared(t.name);
  if (!found.ok()) co_return std::move(found).error();
  const Prepared& prepared = **found;
  if (t.execute_params.size() != prepared.parameters.size()) {
    Error error(Errc::kSyntax, "wrong number of parameters for prepared statement \"" + t.name + "\"");
    error.detail = "Expected " + std::to_string(prepared.parameters.size()) + " parameters but got " +
                   std::to_string(t.execute_params.size()) + ".";
    co_return error;
  }
  std::vector<Value> params;
  for (std::size_t i = 0; i < t.execute_params.size(); ++i) {
    if (i < t.execute_nulls.size() && t.execute_nulls[i]) {
      params.emplace_back(executor::Null{});
      continue;
    }
    auto value = decode_text(t.execute_params[i], prepared.parameters[i]);
    if (!value.ok()) co_return std::move(value).error();
    params.push_back(*std::move(value));
  }
  const Translated& inner = prepared.statement;
  if (inner.kind == StatementKind::kCopyFrom || inner.kind == StatementKind::kCopyTo ||
      inner.kind == StatementKind::kFetch || inner.kind == StatementKind::kExecute)
    co_return Error(Errc::kSyntax, "EXECUTE cannot run " + inner.tag + ": send it as a statement of its own");
  if (auto admitted = admit(inner, mode); !admitted.ok()) co_return std::move(admitted).error();
  co_return co_await start(inner, std::move(params), mode);
}

Result<Started> StatementRunner::deallocate(const Translated& t) {
  if (t.all) {
    s_.prepared.clear();
    return Started{std::nullopt, "DEALLOCATE ALL"};
  }
  if (s_.prepared.erase(t.name) == 0) return no_such_statement(t.name);
  return Started{std::nullopt, "DEALLOCATE"};
}

asio::awaitable<Result<Started>> StatementRunner::discard(Translated t) {
  const bool all = t.all || t.tag == "DISCARD ALL" || t.name == "all";
  if (all && s_.in_transaction())
    co_return Error(Errc::kActiveTransaction, "DISCARD ALL cannot run inside a transaction block");
  if (all) {
    co_await txn_.drop_portals();
    s_.prepared.clear();
    s_.settings.reset_all();
    apply_limits(s_);
    s_.catalog.reset();
    s_.schema = {};
  }
  co_return Started{std::nullopt, t.tag.empty() ? std::string("DISCARD ALL") : t.tag};
}

asio::awaitable<Result<Started>> StatementRunner::declare_cursor(Translated t) {
  if (!s_.in_transaction())
    co_return Error(Errc::kNoActiveTransaction, "DECLARE CURSOR can only be used in transaction blocks");
  if (s_.portals.contains(t.name)) co_return Error(Errc::kDuplicateObject, "cursor \"" + t.name + "\" already exists");
  auto inner = translate_one(t.inner_sql, {}, session_names(s_));
  if (!inner.ok()) co_return std::move(inner).error();
  if (inner->kind != StatementKind::kQuery)
    co_return Error(Errc::kSyntax, "a cursor reads from a SELECT, VALUES or TABLE statement only");
  // Runs now, stopped at its first row: errors show here, and the columns are known.
  auto started = co_await start(*inner, {}, RunMode{.alone = false, .max_rows = 1});
  if (!started.ok()) co_return std::move(started).error();
  auto portal = std::make_shared<Portal>();
  portal->prepared = make_prepared(*std::move(inner), {});
  portal->state = Portal::State::kRunning;
  portal->rows = *std::move(started->rows);
  portal->tag = "SELECT";
  portal->cursor = true;
  s_.portals[t.name] = std::move(portal);
  co_return Started{std::nullopt, "DECLARE CURSOR"};
}

asio::awaitable<Result<Started>> StatementRunner::close_cursor(Translated t) {
  if (t.all || t.name.empty()) {
    co_await txn_.drop_portals();
    co_return Started{std::nullopt, "CLOSE CURSOR ALL"};
  }
  const auto it = s_.portals.find(t.name);
  if (it == s_.portals.end()) co_return Error(Errc::kUndefinedCursor, "cursor \"" + t.name + "\" does not exist");
  const auto portal = it->second;
  s_.portals.erase(it);
  co_await portal->rows.close(*s_.gateway);
  co_return Started{std::nullopt, "CLOSE CURSOR"};
}

asio::awaitable<Result<Started>> StatementRunner::explain(Translated t) {
  auto inner = translate_one(t.inner_sql, t.parameters, session_names(s_));
  if (!inner.ok()) co_return std::move(inner).error();
  std::vector<std::string> lines;
  if (PartitionedSnapshot tables = named_partitioned(s_, inner->source)) {
    PartitionedStatements partitioned(s_, std::move(tables));
    auto planned = co_await partitioned.explain(*inner);
    if (!planned.ok()) co_return std::move(planned).error();
    lines = *std::move(planned);
  }
  if (lines.empty()) lines.push_back("One range: all of database \"" + s_.gateway->database() + "\"");
  std::vector<std::vector<Value>> rows;
  for (std::string& line : lines) rows.push_back({std::move(line)});
  co_return Started{RowStream::local({"QUERY PLAN"}, {PgType{oid::kText, -1}}, rows), t.tag};
}

}  // namespace outlast::sql
