#include "gateway/partition_tables.h"

#include "executor/row_batch.h"
#include "executor/sqlite_error.h"

namespace outlast::gateway {
namespace {
using executor::Value;
using Row = std::vector<Value>;

std::string in_quotes(const std::string& name, char quote) {
  std::string out(1, quote);
  for (const char c : name) out.append(c == quote ? 2 : 1, c);
  return out + quote;
}

Statement statement(Place place, std::string sql, std::vector<Value> values = {}) {
  Statement out;
  out.tag = sql.substr(0, sql.find(' '));
  out.sql = std::move(sql);
  if (!values.empty()) out.params.push_back(std::move(values));
  out.internal = true;
  out.range = place;
  return out;
}

boost::asio::awaitable<Result<std::vector<Row>>> read(Session& session, Place place, std::string sql,
                                                      std::vector<Value> values) {
  auto rows = co_await session.run(statement(place, std::move(sql), std::move(values)));
  if (!rows.ok()) co_return std::move(rows).error();
  const std::size_t width = rows->columns.size();
  std::vector<Row> out;
  for (;;) {
    executor::RowReader reader(rows->bytes, width);
    while (!reader.done()) {
      Row row;
      if (auto next = reader.next(row); !next.ok()) co_return std::move(next).error();
      out.push_back(std::move(row));
    }
    if (rows->portal == 0) co_return out;
    rows = co_await session.fetch(rows->portal, 0);
    if (!rows.ok()) co_return std::move(rows).error();
  }
}

boost::asio::awaitable<Result<void>> run_all(Session& session, Place place, std::vector<std::string> sql) {
  for (std::string& one : sql) {
    Statement next = statement(place, std::move(one));
    next.internal = false;
    auto ran = co_await session.run(std::move(next));
    if (!ran.ok()) co_return std::move(ran).error();
  }
  co_return Result<void>();
}

boost::asio::awaitable<Result<void>> remember(Session& session, Place place, const TableAsMade& made) {
  auto stored = co_await session.run(
      statement(place, "INSERT OR REPLACE INTO outlast_partitioned(name, made, applied) VALUES (?1, ?2, ?3)",
                {Value(made.table), Value(made.request), Value(static_cast<std::int64_t>(made.applied))}));
  if (!stored.ok()) co_return std::move(stored).error();
  co_return Result<void>();
}

/// Begins, and says which CREATE TABLE the range has this table of, and the last change that it took.
boost::asio::awaitable<Result<std::optional<TableAsMade>>> begin_there(Session& session, Place place,
                                                                       const std::string& table) {
  if (auto begun = session.begin({.read_only = false, .immediate = true}); !begun.ok())
    co_return std::move(begun).error();
  auto made = co_await session.run(
      statement(place,
                "CREATE TABLE IF NOT EXISTS outlast_partitioned(name TEXT PRIMARY KEY, made TEXT NOT NULL, "
                "applied INTEGER NOT NULL) WITHOUT ROWID"));
  if (!made.ok()) co_return std::move(made).error();
  auto rows =
      co_await read(session, place, "SELECT made, applied FROM outlast_partitioned WHERE name = ?1", {Value(table)});
  if (!rows.ok()) co_return std::move(rows).error();
  if (rows->empty()) co_return std::optional<TableAsMade>();
  co_return TableAsMade{.table = table,
                        .request = std::get<std::string>(rows->front().at(0)),
                        .applied = static_cast<std::uint64_t>(std::get<std::int64_t>(rows->front().at(1))),
                        .sql = {}};
}

/// Rows that a node sends here has not heard that the table is partitioned.
std::string refusing_trigger(const std::string& table) {
  const std::string why = executor::function_error(
      Errc::kSerialization, "table \"" + table +
                                "\" is partitioned, and this node had not heard of it yet or any more; "
                                "run the statement again");
  return "CREATE TRIGGER " + in_quotes("outlast_home_of_" + table, '"') + " BEFORE INSERT ON " + in_quotes(table, '"') +
         " BEGIN SELECT RAISE(ABORT, " + in_quotes(why, '\'') + "); END";
}

boost::asio::awaitable<Result<void>> install_home(Session& session, TableAsMade made) {
  auto there =
      co_await read(session, {}, "SELECT 1 FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE", {Value(made.table)});
  if (!there.ok()) co_return std::move(there).error();
  if (!there->empty()) co_return Error(Errc::kDuplicateTable, "relation \"" + made.table + "\" already exists");
  std::vector<std::string> sql = made.sql;
  sql.push_back(refusing_trigger(made.table));
  if (auto ran = co_await run_all(session, {}, std::move(sql)); !ran.ok()) co_return ran;
  co_return co_await remember(session, {}, made);
}

boost::asio::awaitable<Result<void>> install_partition(Session& session, Place place, bool there, TableAsMade made) {
  if (there) {
    auto rows = co_await read(session, place, "SELECT 1 FROM " + in_quotes(made.table, '"') + " LIMIT 1", {});
    if (!rows.ok()) co_return std::move(rows).error();
    if (!rows->empty()) co_return Result<void>();  // in use: somebody else has finished it
    made.sql.insert(made.sql.begin(), "DROP TABLE " + in_quotes(made.table, '"'));
  }
  if (auto ran = co_await run_all(session, place, made.sql); !ran.ok()) co_return ran;
  co_return co_await remember(session, place, made);
}

boost::asio::awaitable<Result<void>> install_once(Session& session, Place place, TableAsMade made) {
  auto there = co_await begin_there(session, place, made.table);
  if (!there.ok()) co_return co_await end_transaction(session, std::move(there).error());
  const bool same = *there && (*there)->request == made.request;
  if (same && (*there)->applied >= made.applied) co_return co_await end_transaction(session, {});
  auto done = place ? install_partition(session, place, there->has_value(), std::move(made))
                    : install_home(session, std::move(made));
  co_return co_await end_transaction(session, co_await std::move(done));
}
}  // namespace

bool is_passing(Errc code) {
  return facts(code).retry != Retry::kNever && code != Errc::kCancelled;
}

boost::asio::awaitable<Result<void>> end_transaction(Session& session, Result<void> done) {
  if (done.ok()) {
    auto committed = co_await session.commit();
    if (committed.ok() && *committed) co_return Result<void>();
    done = committed.ok() ? Error(Errc::kTransactionLost, "the transaction was rolled back; run the statement again")
                          : std::move(committed).error();
  }
  if (session.status() != TxnStatus::kIdle) co_await session.rollback();
  co_return done;
}

boost::asio::awaitable<Result<void>> install_table(Session& session, Place place, TableAsMade made) {
  constexpr int kAttempts = 5;
  for (int attempt = 1;; ++attempt) {
    Result<void> done = co_await install_once(session, place, made);
    if (done.ok() || attempt == kAttempts || !is_passing(done.error().code)) co_return done;
  }
}

boost::asio::awaitable<Result<TableAsMade>> read_home(Session& session, std::string table) {
  auto rows = co_await read(session, {},
                            "SELECT s.sql, p.made, p.applied FROM outlast_partitioned p, sqlite_schema s "
                            "WHERE p.name = ?1 AND s.tbl_name = ?1 COLLATE NOCASE AND s.sql IS NOT NULL AND s.name <> "
                            "?2 ORDER BY s.rowid",
                            {Value(table), Value("outlast_home_of_" + table)});
  if (!rows.ok()) co_return std::move(rows).error();
  if (rows->empty()) co_return Error(Errc::kUndefinedTable, "relation \"" + table + "\" does not exist");
  TableAsMade out{.table = table,
                  .request = std::get<std::string>(rows->front().at(1)),
                  .applied = static_cast<std::uint64_t>(std::get<std::int64_t>(rows->front().at(2))),
                  .sql = {}};
  for (Row& row : *rows) out.sql.push_back(std::move(std::get<std::string>(row.at(0))));
  co_return out;
}

boost::asio::awaitable<Result<void>> begin_change(Session& session, Place place, std::string table,
                                                  std::uint64_t number, std::vector<std::string> sql) {
  auto there = co_await begin_there(session, place, table);
  if (!there.ok()) co_return std::move(there).error();
  if (!*there) co_return Error(Errc::kUndefinedTable, "relation \"" + table + "\" does not exist");
  if ((*there)->applied >= number) {
    co_await session.rollback();
    co_return Result<void>();
  }
  if (auto ran = co_await run_all(session, place, std::move(sql)); !ran.ok()) co_return ran;
  (*there)->applied = number;
  co_return co_await remember(session, place, **there);
}

boost::asio::awaitable<Result<void>> drop_home(Session& session, std::string table, std::string request) {
  auto there = co_await begin_there(session, {}, table);
  if (!there.ok()) co_return co_await end_transaction(session, std::move(there).error());
  if (!*there || (*there)->request != request) co_return co_await end_transaction(session, {});
  auto dropped = co_await run_all(session, {}, {"DROP TABLE IF EXISTS " + in_quotes(table, '"')});
  if (dropped.ok()) {
    auto forgotten =
        co_await session.run(statement({}, "DELETE FROM outlast_partitioned WHERE name = ?1", {Value(table)}));
    if (!forgotten.ok()) dropped = std::move(forgotten).error();
  }
  co_return co_await end_transaction(session, std::move(dropped));
}

}  // namespace outlast::gateway
