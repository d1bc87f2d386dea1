#include "sql/session/statement_runner.h"

#include <algorithm>
#include <array>

#include "sql/partitioned/statements.h"
#include "sql/pgwire/messages.h"

namespace outlast::sql {
namespace asio = boost::asio;
using executor::Value;
using Kind = StatementKind;
namespace {
bool ends_failed_transaction(Kind kind) {
  return kind == Kind::kCommit || kind == Kind::kRollback || kind == Kind::kRollbackTo || kind == Kind::kEmpty;
}
bool is_transaction_control(Kind kind) {
  return kind == Kind::kBegin || kind == Kind::kCommit || kind == Kind::kRollback || kind == Kind::kSavepoint ||
         kind == Kind::kRelease || kind == Kind::kRollbackTo;
}
bool must_stand_alone(Kind kind) {
  return kind == Kind::kCreateDatabase || kind == Kind::kDropDatabase || kind == Kind::kSetClusterSetting ||
         kind == Kind::kSetReplicationFactor || kind == Kind::kResetClusterSetting || kind == Kind::kCreatePartitioned;
}
bool writes(Kind kind) {
  return kind == Kind::kWrite || kind == Kind::kDdl || kind == Kind::kCopyFrom || kind == Kind::kCreatePartitioned;
}
}  // namespace

std::string complete_tag(const std::string& tag, std::int64_t count) {
  static constexpr std::array<std::string_view, 7> kCounted{"SELECT", "UPDATE", "DELETE", "FETCH",
                                                            "MOVE",   "COPY",   "MERGE"};
  if (tag == "INSERT") return "INSERT 0 " + std::to_string(count);
  if (std::find(kCounted.begin(), kCounted.end(), tag) != kCounted.end()) return tag + " " + std::to_string(count);
  return tag;
}

std::shared_ptr<Prepared> make_prepared(Translated statement, const std::vector<Oid>& given, std::string text) {
  Prepared prepared;
  prepared.parameters = statement.parameters;
  for (std::size_t i = 0; i < prepared.parameters.size(); ++i) {
    Oid& type = prepared.parameters[i];
    if (i < given.size() && given[i] != 0 && given[i] != oid::kUnknown) type = given[i];
    if (type == 0 || type == oid::kUnknown) type = oid::kText;
  }
  prepared.statement = std::move(statement);
  prepared.text = std::move(text);
  prepared.given = given;
  return std::make_shared<Prepared>(std::move(prepared));
}

Result<Translated> translate_one(std::string_view text, const std::vector<Oid>& parameter_types,
                                 const SessionNames& names) {
  if (!pgwire::is_valid_text(text))
    return Error(Errc::kInvalidText, "invalid byte sequence for encoding \"UTF8\" in the statement");
  auto all = translate(text, parameter_types, names);
  if (!all.ok()) return std::move(all).error();
  std::erase_if(*all, [](const Translated& t) { return t.kind == Kind::kEmpty; });
  if (all->size() > 1) return Error(Errc::kSyntax, "cannot insert multiple commands into a prepared statement");
  if (all->empty()) return Translated{};
  return std::move(all->front());
}

Result<void> StatementRunner::admit(const Translated& t, const RunMode& mode) {
  if (s_.failed() && !ends_failed_transaction(t.kind))
    return Error(Errc::kInFailedTransaction,
                 "current transaction is aborted, commands ignored until end of transaction block");
  TRY(s_.check_cancelled());
  if (must_stand_alone(t.kind) && (s_.in_transaction() || !mode.alone))
    return Error(Errc::kActiveTransaction, t.tag + " cannot run inside a transaction block");
  const bool read_only = s_.in_transaction() ? s_.settings.is_on("transaction_read_only") ||
                                                   (s_.implicit && s_.settings.is_on("default_transaction_read_only"))
                                             : s_.settings.is_on("default_transaction_read_only");
  if (read_only && writes(t.kind))
    return Error(Errc::kReadOnlyTransaction, "cannot execute " + t.tag + " in a read-only transaction");
  if (read_only && t.locks_rows)
    return Error(Errc::kReadOnlyTransaction, "cannot lock " + std::string(t.kind == Kind::kQuery ? "rows" : "a table") +
                                                 " in a read-only transaction");
  if (!mode.alone && !is_transaction_control(t.kind) && t.kind != Kind::kEmpty && !must_stand_alone(t.kind))
    return txn_.ensure_implicit();
  return {};
}

asio::awaitable<Result<Started>> StatementRunner::start(Translated t, std::vector<Value> params, RunMode mode) {
  for (const std::string& text : t.notices) s_.notice(text);
  switch (t.kind) {
    case Kind::kEmpty:
      co_return Started{};
    case Kind::kQuery:
    case Kind::kWrite:
      if (t.catalog) co_return co_await run_catalog(std::move(t), std::move(params));
      co_return co_await run_sql(t, std::move(params), mode);
    case Kind::kDdl:
      co_return co_await run_ddl(std::move(t));
    case Kind::kNothing:
      if (t.locks_rows) co_return co_await lock_tables(std::move(t));
      co_return Started{std::nullopt, t.tag};
    case Kind::kBegin:
    case Kind::kCommit:
    case Kind::kRollback:
    case Kind::kSavepoint:
    case Kind::kRelease:
    case Kind::kRollbackTo:
      co_return co_await run_transaction_control(std::move(t));
    case Kind::kSet:
    case Kind::kReset:
      co_return run_setting(t);
    case Kind::kShow:
      if (gateway::find_listing(t.name)) co_return co_await show_listing(std::move(t));
      co_return show(t);
    case Kind::kCreatePartitioned:
      co_return co_await create_partitioned(std::move(t));
    case Kind::kCreateDatabase:
    case Kind::kSetClusterSetting:
    case Kind::kSetReplicationFactor:
    case Kind::kResetClusterSetting:
      co_return co_await run_cluster(std::move(t));
    case Kind::kDropDatabase:
      co_return co_await drop_database(std::move(t));
    case Kind::kShowClusterSetting:
      co_return show_cluster(t);
    case Kind::kPrepare:
      co_return prepare(t);
    case Kind::kExecute:
      co_return co_await run_execute(std::move(t), mode);
    case Kind::kDeallocate:
      co_return deallocate(t);
    case Kind::kDiscard:
      co_return co_await discard(std::move(t));
    case Kind::kDeclareCursor:
      co_return co_await declare_cursor(std::move(t));
    case Kind::kCloseCursor:
      co_return co_await close_cursor(std::move(t));
    case Kind::kExplain:
      co_return co_await explain(std::move(t));
    case Kind::kCopyFrom:
    case Kind::kCopyTo:
    case Kind::kFetch:
      break;
  }
  co_return Error(Errc::kInternal,
                  "statement kind " + std::to_string(static_cast<int>(t.kind)) + " reached the runner");
}

bool StatementRunner::is_plain(const Translated& t) {
  return (t.kind == Kind::kQuery || t.kind == Kind::kWrite) && !t.catalog && t.notices.empty();
}

asio::awaitable<Result<Started>> StatementRunner::run_sql(const Translated& t, std::vector<Value> params,
                                                          RunMode mode) {
  if (PartitionedSnapshot tables = named_partitioned(s_, t.source)) {
    PartitionedStatements partitioned(s_, std::move(tables));
    auto started = co_await partitioned.run(t, params, mode);
    if (!started.ok()) co_return std::move(started).error();
    if (*started) co_return **std::move(started);
  }
  co_return co_await run_in_range(s_, t, std::move(params), mode, std::nullopt);
}

asio::awaitable<Result<Started>> run_in_range(SessionState& s, const Translated& t, std::vector<Value> params,
                                              RunMode mode, std::optional<RangeId> range) {
  if (t.sql.size() != 1) co_return Error(Errc::kInternal, "the translator gave " + t.tag + " in several pieces");
  gateway::Statement statement;
  statement.sql = t.sql.front();
  if (!params.empty()) statement.params.push_back(std::move(params));
  statement.tag = t.tag;
  statement.max_rows = mode.max_rows;
  statement.takes_lock = t.locks_rows;
  statement.range = range;
  if (auto go = s.check_cancelled(); !go.ok()) co_return std::move(go).error();  // while it was planned
  auto rows = co_await s.gateway->run(std::move(statement));
  if (!rows.ok()) co_return std::move(rows).error();
  if (!t.returns_rows) co_return Started{std::nullopt, complete_tag(t.tag, rows->changes)};
  co_return Started{RowStream(*std::move(rows), t.columns), t.tag};
}

// A range has one writer: whichever tables are named, LOCK TABLE takes the writer lock.
asio::awaitable<Result<Started>> StatementRunner::lock_tables(Translated t) {
  if (!s_.in_transaction())
    co_return Error(Errc::kNoActiveTransaction, "LOCK TABLE can only be used in transaction blocks");
  if (named_partitioned(s_, t.source))
    co_return Error(
        Errc::kSyntax,
        "a partitioned table cannot be locked: its rows lie in several ranges; use SELECT … FOR UPDATE with "
        "a condition on its partition column");
  for (std::string& sql : t.sql) {
    gateway::Statement statement;
    statement.sql = std::move(sql);
    statement.tag = "SELECT";
    statement.takes_lock = true;
    auto locked = co_await s_.gateway->run(std::move(statement));
    if (!locked.ok()) co_return std::move(locked).error();
  }
  co_return Started{std::nullopt, t.tag};
}

asio::awaitable<Result<Started>> StatementRunner::run_ddl(Translated t) {
  auto partitioned = co_await run_partitioned_ddl(t);
  if (!partitioned.ok()) co_return std::move(partitioned).error();
  if (*partitioned) co_return **std::move(partitioned);
  const bool own = !s_.in_transaction() && t.sql.size() > 1;
  if (own)
    if (auto begun = txn_.ensure_implicit(); !begun.ok()) co_return std::move(begun).error();
  std::int64_t changes = 0;
  for (std::size_t i = 0; i < t.sql.size(); ++i) {
    if (t.if_exists && i < t.dropped.size())
      if (auto told = co_await notice_if_absent(t.tag, t.dropped[i]); !told.ok()) co_return std::move(told).error();
    if (t.if_not_exists && i == 0)
      if (auto told = co_await notice_if_present(t.name); !told.ok()) co_return std::move(told).error();
    gateway::Statement statement;
    statement.sql = std::move(t.sql[i]);
    statement.tag = t.tag;
    auto rows = co_await s_.gateway->run(std::move(statement));
    if (!rows.ok()) co_return std::move(rows).error();  // the caller rolls the implicit transaction back
    changes = rows->changes;
  }
  if (own)
    if (auto ended = co_await txn_.end_implicit(); !ended.ok()) co_return std::move(ended).error();
  co_return Started{std::nullopt, complete_tag(t.tag, changes)};
}

asio::awaitable<Result<bool>> StatementRunner::object_exists(std::string name) {
  gateway::Statement statement;
  statement.sql = "SELECT 1 FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE";
  statement.params.push_back({name});
  statement.tag = "SELECT";
  statement.internal = true;
  auto found = co_await s_.gateway->run(std::move(statement));
  if (!found.ok()) co_return std::move(found).error();
  co_return !found->bytes.empty();
}

// CREATE … IF NOT EXISTS says what was there already; SQLite keeps it to itself.
asio::awaitable<Result<void>> StatementRunner::notice_if_present(std::string name) {
  auto found = co_await object_exists(name);
  if (!found.ok()) co_return std::move(found).error();
  if (*found) s_.notice("relation \"" + name + "\" already exists, skipping");
  co_return Result<void>();
}

// DROP … IF EXISTS says what was not there.
asio::awaitable<Result<void>> StatementRunner::notice_if_absent(std::string tag, std::string name) {
  auto found = co_await object_exists(name);
  if (!found.ok()) co_return std::move(found).error();
  if (*found) co_return Result<void>();
  std::string word = tag.substr(std::min(tag.find(' ') + 1, tag.size()));
  std::transform(word.begin(), word.end(), word.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  s_.notice(word + " \"" + name + "\" does not exist, skipping");
  co_return Result<void>();
}

asio::awaitable<Result<Started>> StatementRunner::run_transaction_control(Translated t) {
  using Action = gateway::Session::SavepointAction;
  if (t.kind == Kind::kBegin) {
    if (auto begun = txn_.begin(t.read_only); !begun.ok()) co_return std::move(begun).error();
    co_return Started{std::nullopt, t.tag};
  }
  if (t.kind == Kind::kCommit || t.kind == Kind::kRollback) {
    auto tag = t.kind == Kind::kCommit ? txn_.commit() : txn_.rollback();
    auto ended = co_await std::move(tag);
    if (!ended.ok()) co_return std::move(ended).error();
    co_return Started{std::nullopt, *std::move(ended)};
  }
  const Action action = t.kind == Kind::kSavepoint ? Action::kSet
                        : t.kind == Kind::kRelease ? Action::kRelease
                                                   : Action::kRollbackTo;
  if (auto done = co_await txn_.savepoint(action, t.name); !done.ok()) co_return std::move(done).error();
  co_return Started{std::nullopt, t.tag};
}

bool StatementRunner::describes_itself(const Translated& t) {
  if (t.kind == Kind::kFetch || t.kind == Kind::kExecute || t.kind == Kind::kShow) return true;
  if (t.kind == Kind::kShowClusterSetting || !t.returns_rows) return true;
  if (t.catalog || t.columns.empty()) return false;
  return std::all_of(t.columns.begin(), t.columns.end(),
                     [](const ColumnHint& hint) { return hint.oid != 0 && !hint.name.empty(); });
}

asio::awaitable<Result<std::optional<std::vector<pgwire::FieldDescription>>>> StatementRunner::describe(
    Translated t, std::vector<std::int16_t> formats) {
  using Fields = std::optional<std::vector<pgwire::FieldDescription>>;
  if (t.kind == Kind::kExecute) {
    auto inner = find_prepared(t.name);
    if (!inner.ok()) co_return std::move(inner).error();
    if ((*inner)->statement.kind == Kind::kExecute)
      co_return Error(Errc::kSyntax, "EXECUTE cannot run another EXECUTE: name the inner statement");
    co_return co_await describe((*inner)->statement, formats);
  }
  if (t.kind == Kind::kFetch) {
    const auto cursor = s_.portals.find(t.name);
    if (cursor == s_.portals.end()) co_return Error(Errc::kUndefinedCursor, "cursor \"" + t.name + "\" does not exist");
    if (t.tag != "FETCH") co_return Fields();
    co_return Fields(cursor->second->rows.fields(formats));
  }
  if (t.kind == Kind::kShow && gateway::find_listing(t.name)) co_return Fields(listing_stream(t, {}).fields(formats));
  if (t.kind == Kind::kShow || t.kind == Kind::kShowClusterSetting) {
    auto shown = t.kind == Kind::kShow ? show(t) : show_cluster(t);
    if (!shown.ok()) co_return std::move(shown).error();
    co_return Fields(shown->rows->fields(formats));
  }
  if (!t.returns_rows) co_return Fields();
  if (t.catalog) {
    auto shown = co_await run_catalog(t, std::vector<Value>(t.parameters.size()));
    if (!shown.ok()) co_return std::move(shown).error();
    co_return Fields(shown->rows->fields(formats));
  }
  std::vector<gateway::Column> columns(t.columns.size());
  if (!describes_itself(t)) {
    auto rows = co_await s_.gateway->describe(t.sql.front(), false);
    if (!rows.ok()) co_return std::move(rows).error();
    columns = std::move(rows->columns);
  }
  co_return Fields(describe_fields(result_names(columns, t.columns), result_types(columns, t.columns), formats));
}

}  // namespace outlast::sql
