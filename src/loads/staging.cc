#include "loads/staging.h"

#include <utility>

#include "base/crc32c.h"
#include "loads/shape.h"

namespace outlast::loads {
namespace asio = boost::asio;
using executor::Value;

namespace {
constexpr std::string_view kTxnTable =
    "CREATE TABLE IF NOT EXISTS outlast_load_txn(txn INTEGER PRIMARY KEY, stage TEXT NOT NULL, state TEXT NOT NULL, "
    "batches INTEGER NOT NULL, rows INTEGER NOT NULL, checksum INTEGER NOT NULL, filter INTEGER NOT NULL, changed "
    "INTEGER NOT NULL)";

Error aborted() {
  return {Errc::kInvalidState, "the load was aborted meanwhile; load it again"};
}

/// What a client may see of an error about the hidden table.
Error of_the_table(Error error) {
  for (std::string* const text : {&error.message, &error.detail})
    for (std::size_t at = 0; (at = text->find(kStagePrefix)) != text->npos;) text->erase(at, kStagePrefix.size());
  return error;
}
}  // namespace

Staging::Staging(gateway::Cluster& cluster, Load load, RangeId range)
    : cluster_(cluster), load_(std::move(load)), range_(range), stage_(stage_of(load_.table)) {
  part_.range = range_;
}

gateway::Statement Staging::statement(std::string sql, Row values) const {
  return own_statement(std::move(sql), range_, std::move(values));
}

asio::awaitable<Result<void>> Staging::repeat(Attempt attempt, Patience::Until until) {
  for (Patience patience(until);;) {
    auto done = co_await in_transaction(attempt);
    if (done.ok()) co_return done;
    if (auto again = co_await patience.after(std::move(done).error()); !again.ok()) co_return again;
  }
}

asio::awaitable<Result<void>> Staging::in_transaction(Attempt attempt) {
  if (!session_) {
    session_ = cluster_.open_session();
    if (auto used = co_await session_->use_database(load_.database); !used.ok()) {
      session_.reset();
      co_return used;
    }
  }
  if (auto begun = session_->begin({.read_only = false, .immediate = true}); !begun.ok()) co_return begun;
  auto done = co_await (this->*attempt)(*session_);
  if (done.ok()) done = co_await commit(*session_);
  if (!done.ok() && session_->status() != gateway::TxnStatus::kIdle) co_await session_->rollback();
  if (!done.ok()) session_.reset();
  co_return done;
}

asio::awaitable<Result<Row>> Staging::own_row(gateway::Session& session) {
  auto rows = co_await read_rows(
      session, statement("SELECT state, batches, rows, checksum FROM outlast_load_txn WHERE txn = ?1", {txn()}));
  if (!rows.ok()) co_return std::move(rows).error();
  co_return rows->empty() ? Row() : std::move(rows->front());
}

/// The hidden tables, and this load among them.
asio::awaitable<Result<void>> Staging::open_once(gateway::Session& session) {
  auto there = co_await read_rows(session, statement("SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN "
                                                     "(?1, 'outlast_load_txn') ORDER BY name = ?1",
                                                     {Value(stage_)}));
  if (!there.ok()) co_return std::move(there).error();
  if (there->empty() || text_of(there->front().front()) == stage_)
    if (auto made = co_await run_each(session, {std::string(kTxnTable)}); !made.ok()) co_return made;
  if (there->empty() || text_of(there->back().front()) != stage_)
    if (auto made = co_await make_stage(session); !made.ok()) co_return made;
  auto noted = co_await run_write(
      session, statement("INSERT INTO outlast_load_txn VALUES (?1, ?2, 'staging', 0, 0, 0, ?3, ?4) ON CONFLICT DO "
                         "NOTHING",
                         {txn(), Value(stage_), Value(std::int64_t{load_.filter}), Value(cluster_.wall_micros())}));
  if (!noted.ok()) co_return std::move(noted).error();
  co_return Result<void>();
}

asio::awaitable<Result<void>> Staging::make_stage(gateway::Session& session) {
  auto shape = co_await read_shape(session, load_.table, range_);
  if (!shape.ok()) co_return std::move(shape).error();
  auto texts = staging_sql(*shape);
  if (!texts.ok()) co_return std::move(texts).error();
  co_return co_await run_each(session, *std::move(texts));
}

asio::awaitable<Result<void>> Staging::add(std::vector<std::string> columns, PackedRows rows, bool last,
                                           Patience::Until until) {
  batch_.into = {.table = stage_,
                 .columns = std::move(columns),
                 .filter = load_.filter,
                 .first_column = "outlast_txn",
                 .first_value = load_.txn};
  batch_.way = way_of(batch_.into);
  batch_.checksum = crc32c(rows.bytes(), static_cast<std::uint32_t>(part_.checksum));
  batch_.rows = std::move(rows);
  batch_.last = last;
  auto added = co_await repeat(&Staging::add_once, until);
  if (!added.ok() && wants_rows(added.error())) {
    batch_.way = Way::kByRow;
    added = co_await repeat(&Staging::add_once, until);
  }
  batch_.rows = PackedRows();
  if (!added.ok()) co_return of_the_table(std::move(added).error());
  ++part_.batches;
  part_.rows += batch_.kept;
  part_.checksum = batch_.checksum;
  co_return Result<void>();
}

/// True: this batch is not here yet. False: it is, from an attempt whose answer got lost.
asio::awaitable<Result<bool>> Staging::claim_batch(gateway::Session& session) {
  const std::int64_t next = part_.batches + 1;
  auto claimed = co_await run_write(
      session, statement("UPDATE outlast_load_txn SET batches = ?2, checksum = ?3 WHERE txn = ?1 AND state = 'staging' "
                         "AND batches = ?2 - 1 AND checksum = ?4",
                         {txn(), Value(next), Value(batch_.checksum), Value(part_.checksum)}));
  if (!claimed.ok()) co_return std::move(claimed).error();
  if (*claimed == 1) co_return true;
  auto row = co_await own_row(session);
  if (!row.ok()) co_return std::move(row).error();
  const std::string state = row->empty() ? std::string() : text_of(row->front());
  if (state != "staging" && state != "prepared") co_return aborted();
  if (number_of(row->at(1)) != next || number_of(row->at(3)) != batch_.checksum)
    co_return Error(Errc::kInternal, "a batch of a load is missing in range " + part_.range.to_string());
  batch_.kept = number_of(row->at(2)) - part_.rows;
  co_return false;
}

asio::awaitable<Result<void>> Staging::add_once(gateway::Session& session) {
  if (part_.batches == 0)
    if (auto opened = co_await open_once(session); !opened.ok()) co_return opened;
  auto fresh = co_await claim_batch(session);
  if (!fresh.ok()) co_return std::move(fresh).error();
  if (!*fresh) co_return Result<void>();
  co_return co_await insert_batch(session);
}

asio::awaitable<Result<void>> Staging::insert_batch(gateway::Session& session) {
  batch_.kept = 0;
  if (!batch_.rows.empty()) {
    gateway::Statement insert = insert_statement(batch_.into, batch_.rows, batch_.way);
    insert.internal = true;
    insert.range = range_;
    auto inserted = co_await run_write(session, std::move(insert));
    if (!inserted.ok()) co_return std::move(inserted).error();
    batch_.kept = *inserted;
  }
  auto counted = co_await run_write(
      session, statement("UPDATE outlast_load_txn SET rows = rows + ?2, state = ?3, changed = ?4 WHERE txn = ?1 AND "
                         "rows = ?5",
                         {txn(), Value(batch_.kept), Value(std::string(batch_.last ? "prepared" : "staging")),
                          Value(cluster_.wall_micros()), Value(part_.rows)}));
  if (!counted.ok()) co_return std::move(counted).error();
  if (*counted == 1) co_return Result<void>();
  co_return Error(Errc::kInternal, "range " + part_.range.to_string() + " does not hold what the load sent there");
}

asio::awaitable<Result<void>> Staging::apply(Patience::Until until) {
  co_return co_await repeat(&Staging::apply_once, until);
}

asio::awaitable<Result<void>> Staging::apply_once(gateway::Session& session) {
  auto mine = co_await run_write(
      session, statement("UPDATE outlast_load_txn SET state = 'applied', changed = ?2 WHERE txn = ?1 AND state = "
                         "'prepared'",
                         {txn(), Value(cluster_.wall_micros())}));
  if (!mine.ok()) co_return std::move(mine).error();
  auto row = co_await own_row(session);
  if (!row.ok()) co_return std::move(row).error();
  const std::string state = row->empty() ? "unknown" : text_of(row->front());
  if (state != "applied")
    co_return Error(Errc::kInternal, "range " + part_.range.to_string() + " has a committed load as " + state);
  if (*mine == 0) co_return Result<void>();  // done before
  auto table = co_await table_of_stage(session);
  if (!table.ok()) co_return std::move(table).error();
  auto last = co_await is_last(session);
  if (!last.ok()) co_return std::move(last).error();
  // The table's guards are for writes beside loads, and slow; the last load takes them away.
  if (*last)
    if (auto open = co_await run_each(session, unguarding_sql(load_.table)); !open.ok()) co_return open;
  if (!table->empty())
    if (auto moved = co_await move_rows(session, *table, number_of(row->at(2))); !moved.ok()) co_return moved;
  co_return co_await drop_rows(session, *last);
}

/// By its trigger, so that a table that was renamed meanwhile is found. Empty: it was dropped, and its rows with it.
asio::awaitable<Result<std::string>> Staging::table_of_stage(gateway::Session& session) {
  auto target =
      co_await read_rows(session, statement("SELECT tbl_name FROM sqlite_schema WHERE type = 'trigger' AND name = ?1",
                                            {Value(stage_ + ":insert")}));
  if (!target.ok()) co_return std::move(target).error();
  co_return target->empty() ? std::string() : text_of(target->front().front());
}

asio::awaitable<Result<void>> Staging::move_rows(gateway::Session& session, std::string table, std::int64_t expected) {
  auto columns = co_await read_rows(
      session,
      statement("SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0 AND name <> 'outlast_txn'", {Value(stage_)}));
  if (!columns.ok()) co_return std::move(columns).error();
  std::string names;
  for (const Row& column : *columns) names += (names.empty() ? "" : ", ") + name_sql(text_of(column.front()));
  auto moved =
      co_await run_write(session, statement("INSERT INTO " + name_sql(table) + "(" + names + ") SELECT " + names +
                                                " FROM " + name_sql(stage_) + " WHERE outlast_txn = ?1",
                                            {txn()}));
  if (!moved.ok()) co_return std::move(moved).error();
  if (*moved == expected) co_return Result<void>();
  co_return Error(Errc::kInternal, "range " + part_.range.to_string() + " holds " + std::to_string(*moved) +
                                       " staged rows of a load and not " + std::to_string(expected));
}

/// No other load has rows in the hidden table.
asio::awaitable<Result<bool>> Staging::is_last(gateway::Session& session) {
  auto others = co_await read_rows(
      session, statement("SELECT 1 FROM outlast_load_txn WHERE stage = ?1 AND state IN ('staging', 'prepared') LIMIT 1",
                         {Value(stage_)}));
  if (!others.ok()) co_return std::move(others).error();
  co_return others->empty();
}

asio::awaitable<Result<void>> Staging::run_each(gateway::Session& session, std::vector<std::string> texts) {
  for (std::string& text : texts)
    if (auto done = co_await run_write(session, statement(std::move(text))); !done.ok())
      co_return std::move(done).error();
  co_return Result<void>();
}

/// The last load of a table takes the hidden table with it.
asio::awaitable<Result<void>> Staging::drop_rows(gateway::Session& session, bool last) {
  if (last) co_return co_await run_each(session, {"DROP TABLE IF EXISTS " + name_sql(stage_)});
  auto deleted =
      co_await run_write(session, statement("DELETE FROM " + name_sql(stage_) + " WHERE outlast_txn = ?1", {txn()}));
  if (!deleted.ok()) co_return std::move(deleted).error();
  co_return Result<void>();
}

asio::awaitable<Result<void>> Staging::sweep(Patience::Until until) {
  co_return co_await repeat(&Staging::sweep_once, until);
}

asio::awaitable<Result<void>> Staging::sweep_once(gateway::Session& session) {
  if (auto made = co_await run_write(session, statement(std::string(kTxnTable))); !made.ok())
    co_return std::move(made).error();
  auto row = co_await own_row(session);
  if (!row.ok()) co_return std::move(row).error();
  const std::string before = row->empty() ? std::string() : text_of(row->front());
  if (before == "applied")
    co_return Error(Errc::kInternal, "range " + part_.range.to_string() + " has applied a load that was aborted");
  auto noted = co_await run_write(
      session, statement("INSERT INTO outlast_load_txn VALUES (?1, ?2, 'aborted', 0, 0, 0, 0, ?3) ON CONFLICT (txn) DO "
                         "UPDATE SET state = 'aborted', changed = excluded.changed",
                         {txn(), Value(stage_), Value(cluster_.wall_micros())}));
  if (!noted.ok()) co_return std::move(noted).error();
  if (before != "staging" && before != "prepared") co_return Result<void>();
  auto last = co_await is_last(session);
  if (!last.ok()) co_return std::move(last).error();
  if (*last)
    if (auto open = co_await run_each(session, unguarding_sql(load_.table)); !open.ok()) co_return open;
  co_return co_await drop_rows(session, *last);
}

asio::awaitable<Result<void>> Staging::forget(Patience::Until until) {
  co_return co_await repeat(&Staging::forget_once, until);
}

asio::awaitable<Result<void>> Staging::forget_once(gateway::Session& session) {
  auto gone = co_await run_write(
      session, statement("DELETE FROM outlast_load_txn WHERE txn = ?1 AND state IN ('applied', 'aborted')", {txn()}));
  if (!gone.ok() && gone.error().code != Errc::kUndefinedTable) co_return std::move(gone).error();
  co_return Result<void>();
}

}  // namespace outlast::loads
