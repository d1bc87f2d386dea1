#include "tests/support/fake_session.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "executor/row_batch.h"
#include "executor/rows_table.h"
#include "executor/script.h"
#include "executor/sqlite_error.h"
#include "tests/support/fake_functions.h"

namespace outlast::testing {
namespace asio = boost::asio;
using executor::Value;
using gateway::TxnStatus;
namespace {
constexpr std::size_t kPieceBytes = 16 * 1024;

void bind_value(sqlite3_stmt* s, int i, const Value& value) {
  if (const auto* n = std::get_if<std::int64_t>(&value))
    sqlite3_bind_int64(s, i, *n);
  else if (const auto* d = std::get_if<double>(&value))
    sqlite3_bind_double(s, i, *d);
  else if (const auto* t = std::get_if<std::string>(&value))
    sqlite3_bind_text(s, i, t->data(), static_cast<int>(t->size()), SQLITE_TRANSIENT);
  else if (const auto* b = std::get_if<executor::Blob>(&value))
    sqlite3_bind_blob(s, i, b->bytes.empty() ? "" : b->bytes.data(), static_cast<int>(b->bytes.size()),
                      SQLITE_TRANSIENT);
  else
    sqlite3_bind_null(s, i);
}

void write_column(executor::RowWriter& out, sqlite3_stmt* s, int i) {
  const auto size = [&] { return static_cast<std::size_t>(sqlite3_column_bytes(s, i)); };
  switch (sqlite3_column_type(s, i)) {
    case SQLITE_INTEGER:
      return out.integer(sqlite3_column_int64(s, i));
    case SQLITE_FLOAT:
      return out.real(sqlite3_column_double(s, i));
    case SQLITE_TEXT: {
      const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(s, i));
      return out.text({text, size()});
    }
    case SQLITE_BLOB: {
      const auto* bytes = static_cast<const char*>(sqlite3_column_blob(s, i));
      return out.blob({bytes, size()});
    }
    default:
      return out.null();
  }
}

std::string text_or_empty(const char* text) {
  return text != nullptr ? text : "";
}

std::vector<gateway::Column> columns_of(sqlite3_stmt* s) {
  std::vector<gateway::Column> columns;
  for (int i = 0; i < sqlite3_column_count(s); ++i)
    columns.push_back({text_or_empty(sqlite3_column_name(s, i)), text_or_empty(sqlite3_column_decltype(s, i)),
                       text_or_empty(sqlite3_column_table_name(s, i)),
                       text_or_empty(sqlite3_column_origin_name(s, i))});
  return columns;
}
}  // namespace

FakeSession::~FakeSession() {
  portals_.clear();
  close_all();
  --cluster_.sessions_open;
}

void FakeSession::close_all() {
  db_ = nullptr;
  for (const auto& [range, db] : std::exchange(connections_, {})) sqlite3_close_v2(db);
}

asio::awaitable<Result<void>> FakeSession::use_database(std::string name) {
  if (cluster_.path_of(name).empty())
    co_return Error(Errc::kUndefinedDatabase, "database \"" + name + "\" does not exist");
  close_all();
  database_ = std::move(name);
  co_return Result<void>();
}

void FakeSession::resume(std::string database, gateway::Seen seen) {
  database_ = std::move(database);
  seen_ = seen;
}

Result<void> FakeSession::open(std::optional<RangeId> range) {
  const RangeId wanted = range.value_or(begun_ ? where_ : RangeId());
  const std::string path = wanted ? cluster_.path_of(wanted) : cluster_.path_of(database_);
  if (path.empty() && wanted)
    return Error(Errc::kNoLeaseholder, "no node serves range " + wanted.to_string() + " at present");
  if (path.empty()) return Error(Errc::kUndefinedDatabase, "database \"" + database_ + "\" does not exist");
  const auto there = connections_.find(wanted);
  if (there == connections_.end()) {
    ASSIGN_OR_RETURN(connections_[wanted], connect(path));
  }
  const std::lock_guard lock(running_mutex_);
  db_ = connections_[wanted];
  where_ = wanted;
  return {};
}

Result<sqlite3*> FakeSession::connect(const std::string& path) {
  sqlite3* db = nullptr;
  if (sqlite3_open(path.c_str(), &db) != SQLITE_OK) return Error(Errc::kIo, "cannot open " + path);
  sqlite3_extended_result_codes(db, 1);
  sqlite3_busy_timeout(db, 5000);
  // "name" is a name and never a string, as in PostgreSQL.
  sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, 0, nullptr);
  sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DDL, 0, nullptr);
  register_fake_functions(db, database_);
  if (!cluster_.older) executor::add_rows_table(db);
  if (sqlite3_exec(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA foreign_keys=ON", nullptr, nullptr,
                   nullptr) != SQLITE_OK) {
    Error error = executor::map_sqlite_error(sqlite3_extended_errcode(db), sqlite3_errmsg(db));
    sqlite3_close_v2(db);
    return error;
  }
  return db;
}

Error FakeSession::sqlite_error() {
  return executor::map_sqlite_error(sqlite3_extended_errcode(db_), sqlite3_errmsg(db_));
}

Result<void> FakeSession::execute(const std::string& sql) {
  if (db_ == nullptr) TRY(open());
  if (sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) return sqlite_error();
  return {};
}

Result<StatementPtr> FakeSession::prepare(const std::string& sql) {
  if (db_ == nullptr) TRY(open());
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(db_, sql.data(), static_cast<int>(sql.size()), &statement, nullptr) != SQLITE_OK)
    return sqlite_error();
  if (statement == nullptr) return Error(Errc::kInternal, "an empty statement reached the gateway");
  return StatementPtr(statement);
}

Result<gateway::Rows> FakeSession::failed(Error error) {
  if (status_ == TxnStatus::kActive) status_ = TxnStatus::kFailed;
  return error;
}

Result<void> FakeSession::start_transaction(std::optional<RangeId> range) {
  if (status_ == TxnStatus::kFailed) return Error(Errc::kInFailedTransaction, "current transaction is aborted");
  if (begun_ && range.value_or(RangeId()) != where_)
    return Error(Errc::kActiveTransaction, "a transaction stays in one partition, or outside all partitioned tables");
  TRY(open(range));
  if (status_ == TxnStatus::kActive && !std::exchange(begun_, true)) return execute("BEGIN IMMEDIATE");
  return {};
}

Result<gateway::Rows> FakeSession::read_piece(OpenPortal open, std::uint64_t max_rows) {
  gateway::Rows rows;
  sqlite3_stmt* s = open.statement.get();
  db_ = sqlite3_db_handle(s);
  executor::RowWriter out;
  std::uint64_t count = 0;
  const int before = sqlite3_total_changes(db_);
  for (;;) {
    const int code = open.row_waits ? SQLITE_ROW : sqlite3_step(s);
    open.row_waits = false;
    if (code == SQLITE_DONE) break;
    if (code != SQLITE_ROW) return sqlite_error();
    if ((max_rows > 0 && count == max_rows) || out.size() >= kPieceBytes) {
      open.row_waits = true;
      rows.suspended = max_rows > 0 && count == max_rows;
      rows.portal = next_portal_++;
      break;
    }
    for (int i = 0; i < sqlite3_column_count(s); ++i) write_column(out, s, i);
    ++count;
  }
  rows.bytes = out.take();
  rows.read_only = sqlite3_stmt_readonly(s) != 0;
  rows.changes = rows.read_only ? 0 : sqlite3_total_changes(db_) - before;
  if (rows.portal != 0) portals_[rows.portal] = std::move(open);
  return rows;
}

asio::awaitable<Result<gateway::Rows>> FakeSession::run(gateway::Statement statement) {
  auto done = co_await asio::co_spawn(cluster_.pool(), run_here(std::move(statement)), asio::use_awaitable);
  co_return *std::move(done);
}

/// Several statements in one request, as the executor runs them; only inside of a transaction.
asio::awaitable<std::optional<Result<gateway::Rows>>> FakeSession::run_script(gateway::Statement script) {
  if (cluster_.older) co_return failed(Error(Errc::kSyntax, "cannot run several commands as one statement"));
  gateway::Rows all;
  const auto steps = executor::split_script(script.sql);
  for (std::size_t i = 0; i < steps.size(); ++i) {
    gateway::Statement one = script;
    one.sql = steps[i].sql;
    one.params = {script.params.at(i)};
    auto done = *co_await run_here(std::move(one));
    if (!done.ok()) co_return done;
    if (all.columns.empty()) all.columns = done->columns;
    all.bytes += done->bytes;
    if (steps[i].must_change && done->changes == 0) break;
  }
  co_return all;
}

asio::awaitable<std::optional<Result<gateway::Rows>>> FakeSession::run_here(gateway::Statement statement) {
  if (statement.internal && !executor::split_script(statement.sql).empty())
    co_return co_await run_script(std::move(statement));
  if (auto started = start_transaction(statement.range); !started.ok()) co_return failed(std::move(started).error());
  auto prepared = prepare(statement.sql);
  if (!prepared.ok()) co_return failed(std::move(prepared).error());
  {
    const std::lock_guard lock(running_mutex_);
    running_ = true;
  }
  OpenPortal open{*std::move(prepared)};
  sqlite3_stmt* s = open.statement.get();
  const auto columns = columns_of(s);
  const bool batch = statement.params.size() > 1;
  if (batch && status_ == TxnStatus::kIdle) {
    if (auto begun = execute("BEGIN IMMEDIATE"); !begun.ok()) co_return failed(std::move(begun).error());
  }
  Result<gateway::Rows> rows = gateway::Rows{};
  std::int64_t changes = 0;
  if (statement.params.empty()) statement.params.emplace_back();
  for (std::size_t i = 0; i < statement.params.size(); ++i) {
    for (std::size_t p = 0; p < statement.params[i].size(); ++p)
      bind_value(s, static_cast<int>(p + 1), statement.params[i][p]);
    if (i + 1 == statement.params.size()) {
      rows = read_piece(std::move(open), statement.max_rows);
      break;
    }
    if (sqlite3_step(s) != SQLITE_DONE) {
      rows = sqlite_error();
      break;
    }
    changes += sqlite3_changes(db_);
    sqlite3_reset(s);
  }
  if (batch && status_ == TxnStatus::kIdle) {
    const auto ended = execute(rows.ok() ? "COMMIT" : "ROLLBACK");
    if (!ended.ok() && rows.ok()) rows = ended.error();
  }
  {
    const std::lock_guard lock(running_mutex_);
    running_ = false;
  }
  if (!rows.ok()) co_return failed(std::move(rows).error());
  rows->changes += changes;
  rows->columns = columns;
  if (!rows->read_only && status_ == TxnStatus::kIdle)
    if (const Errc code = cluster_.take_commit_failure(); code != Errc::kInternal)
      co_return failed(Error(code, "the outcome of the statement is not known: read the data to find out"));
  co_return rows;
}

asio::awaitable<Result<gateway::Rows>> FakeSession::fetch(std::uint64_t portal, std::uint64_t max_rows) {
  auto done = co_await asio::co_spawn(cluster_.pool(), fetch_here(portal, max_rows), asio::use_awaitable);
  co_return *std::move(done);
}

asio::awaitable<std::optional<Result<gateway::Rows>>> FakeSession::fetch_here(std::uint64_t portal,
                                                                              std::uint64_t max_rows) {
  auto node = portals_.extract(portal);
  if (node.empty()) co_return failed(Error(Errc::kUndefinedCursor, "the portal is gone"));
  auto rows = read_piece(std::move(node.mapped()), max_rows);
  if (!rows.ok()) co_return failed(std::move(rows).error());
  co_return rows;
}

asio::awaitable<void> FakeSession::close_portal(std::uint64_t portal) {
  portals_.erase(portal);
  co_return;
}

asio::awaitable<Result<gateway::Rows>> FakeSession::describe(std::string sql, bool internal) {
  if (auto opened = open(); !opened.ok()) co_return failed(std::move(opened).error());
  auto prepared = prepare(sql);
  if (!prepared.ok()) co_return failed(std::move(prepared).error());
  gateway::Rows rows;
  rows.columns = columns_of(prepared->get());
  rows.parameter_count = sqlite3_bind_parameter_count(prepared->get());
  co_return rows;
}

Result<void> FakeSession::begin(gateway::TxnOptions options) {
  if (status_ != TxnStatus::kIdle) return Error(Errc::kActiveTransaction, "a transaction is open");
  status_ = TxnStatus::kActive;
  begun_ = false;
  return {};
}

asio::awaitable<Result<bool>> FakeSession::commit() {
  if (status_ == TxnStatus::kFailed) {
    co_await rollback();
    co_return false;
  }
  portals_.clear();
  status_ = TxnStatus::kIdle;
  if (!std::exchange(begun_, false)) co_return true;
  if (auto done = execute("COMMIT"); !done.ok()) {
    (void)execute("ROLLBACK");
    co_return std::move(done).error();
  }
  if (const Errc code = cluster_.take_commit_failure(); code != Errc::kInternal)
    co_return Error(code, "the outcome of the COMMIT is not known: read the data to find out");
  co_return true;
}

asio::awaitable<void> FakeSession::rollback() {
  portals_.clear();
  status_ = TxnStatus::kIdle;
  if (std::exchange(begun_, false)) (void)execute("ROLLBACK");
  co_return;
}

asio::awaitable<Result<void>> FakeSession::savepoint(SavepointAction action, std::string name) {
  if (status_ == TxnStatus::kIdle) co_return Error(Errc::kNoActiveTransaction, "no transaction is open");
  if (!begun_ && status_ == TxnStatus::kActive)
    if (auto started = start_transaction(); !started.ok()) co_return started;
  const char* verb = action == SavepointAction::kSet       ? "SAVEPOINT "
                     : action == SavepointAction::kRelease ? "RELEASE "
                                                           : "ROLLBACK TO ";
  if (!execute(verb + ("\"" + name + "\"")).ok()) {
    status_ = TxnStatus::kFailed;
    co_return Error(Errc::kInvalidSavepoint, "savepoint \"" + name + "\" does not exist");
  }
  if (action == SavepointAction::kRollbackTo) status_ = TxnStatus::kActive;
  co_return Result<void>();
}

void FakeSession::fail_transaction() {
  if (status_ == TxnStatus::kActive) status_ = TxnStatus::kFailed;
}

void FakeSession::interrupt() {
  ++cluster_.interrupts;
  const std::lock_guard lock(running_mutex_);
  if (running_ && db_ != nullptr) sqlite3_interrupt(db_);
}

}  // namespace outlast::testing
