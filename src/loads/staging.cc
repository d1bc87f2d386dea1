#include "loads/staging.h"

#include "base/crc32c.h"
#include "executor/row_batch.h"
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

asio::awaitable<Result<void>> Staging::open(Patience::Until until) {
  co_return co_await repeat(&Staging::open_once, until);
}

asio::awaitable<Result<void>> Staging::open_once(gateway::Session& session) {
  if (auto made = co_await run_write(session, statement(std::string(kTxnTable))); !made.ok())
    co_return std::move(made).error();
  auto staged = co_await read_rows(
      session, statement("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1", {Value(stage_)}));
  if (!staged.ok()) co_return std::move(staged).error();
  if (staged->empty())
    if (auto made = co_await make_stage(session); !made.ok()) co_return made;
  auto noted = co_await run_write(
      session, statement("INSERT INTO outlast_load_txn VALUES (?1, ?2, 'staging', 0, 0, 0, ?3, ?4) ON CONFLICT DO "
                         "NOTHING",
                         {txn(), Value(stage_), Value(std::int64_t{load_.filter}), Value(cluster_.wall_micros())}));
  if (!noted.ok()) co_return std::move(noted).error();
  auto row = co_await own_row(session);
  if (!row.ok()) co_return std::move(row).error();
  if (text_of(row->at(0)) != "staging") co_return aborted();
  co_return Result<void>();
}

asio::awaitable<Result<void>> Staging::make_stage(gateway::Session& session) {
  auto shape = co_await read_shape(session, load_.table, range_);
  if (!shape.ok()) co_return std::move(shape).error();
  auto texts = staging_sql(*shape);
  if (!texts.ok()) co_return std::move(texts).error();
  for (std::string& text : *texts)
    if (auto made = co_await run_write(session, statement(std::move(text))); !made.ok())
      co_return std::move(made).error();
  co_return Result<void>();
}

asio::awaitable<Result<void>> Staging::add(std::vector<std::string> columns, Rows rows, Patience::Until until) {
  std::string names, values;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    names += ", " + name_sql(columns[i]);
    values += ", ?" + std::to_string(i + 1);
  }
  batch_.insert_sql = std::string("INSERT ") + (load_.filter ? "OR IGNORE " : "") + "INTO " + name_sql(stage_) +
                      "(outlast_txn" + names + ") VALUES (" + std::to_string(load_.txn) + values + ")";
  auto checksum = static_cast<std::uint32_t>(part_.checksum);
  for (const Row& row : rows) {
    executor::RowWriter bytes;
    for (const Value& value : row) bytes.value(value);
    checksum = crc32c(bytes.take(), checksum);
  }
  batch_.rows = std::move(rows);
  batch_.checksum = checksum;
  auto added = co_await repeat(&Staging::add_once, until);
  batch_.rows.clear();
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
                         "AND batches = ?2 - 1",
                         {txn(), Value(next), Value(batch_.checksum)}));
  if (!claimed.ok()) co_return std::move(claimed).error();
  if (*claimed == 1) co_return true;
  auto row = co_await own_row(session);
  if (!row.ok()) co_return std::move(row).error();
  if (row->empty() || text_of(row->at(0)) != "staging") co_return aborted();
  if (number_of(row->at(1)) != next || number_of(row->at(3)) != batch_.checksum)
    co_return Error(Errc::kInternal, "a batch of a load is missing in range " + part_.range.to_string());
  batch_.kept = number_of(row->at(2)) - part_.rows;
  co_return false;
}

asio::awaitable<Result<void>> Staging::add_once(gateway::Session& session) {
  auto fresh = co_await claim_batch(session);
  if (!fresh.ok()) co_return std::move(fresh).error();
  if (!*fresh) co_return Result<void>();
  gateway::Statement insert = statement(batch_.insert_sql);
  insert.params = batch_.rows;
  insert.tag = "INSERT";
  auto inserted = co_await run_write(session, std::move(insert));
  if (!inserted.ok()) co_return std::move(inserted).error();
  batch_.kept = *inserted;
  auto counted = co_await run_write(
      session, statement("UPDATE outlast_load_txn SET rows = rows + ?2 WHERE txn = ?1", {txn(), Value(*inserted)}));
  if (!counted.ok()) co_return std::move(counted).error();
  co_return Result<void>();
}

asio::awaitable<Result<void>> Staging::prepare(Patience::Until until) {
  co_return co_await repeat(&Staging::prepare_once, until);
}

asio::awaitable<Result<void>> Staging::prepare_once(gateway::Session& session) {
  auto prepared = co_await run_write(
      session,
      statement(
          "UPDATE outlast_load_txn SET state = 'prepared', changed = ?5 WHERE txn = ?1 AND state IN ('staging', "
          "'prepared') AND batches = ?2 AND rows = ?3 AND checksum = ?4",
          {txn(), Value(part_.batches), Value(part_.rows), Value(part_.checksum), Value(cluster_.wall_micros())}));
  if (!prepared.ok()) co_return std::move(prepared).error();
  if (*prepared == 1) co_return Result<void>();
  auto row = co_await own_row(session);
  if (!row.ok()) co_return std::move(row).error();
  if (row->empty() || text_of(row->at(0)) != "staging") co_return aborted();
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
  if (auto moved = co_await move_rows(session, number_of(row->at(2))); !moved.ok()) co_return moved;
  co_return co_await unstage(session);
}

asio::awaitable<Result<void>> Staging::move_rows(gateway::Session& session, std::int64_t expected) {
  // By its trigger, so that a table that was renamed meanwhile is found. None: it was dropped, and its rows with it.
  auto target =
      co_await read_rows(session, statement("SELECT tbl_name FROM sqlite_schema WHERE type = 'trigger' AND name = ?1",
                                            {Value(stage_ + ":insert")}));
  if (!target.ok()) co_return std::move(target).error();
  if (target->empty()) co_return Result<void>();
  auto columns = co_await read_rows(
      session,
      statement("SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0 AND name <> 'outlast_txn'", {Value(stage_)}));
  if (!columns.ok()) co_return std::move(columns).error();
  std::string names;
  for (const Row& column : *columns) names += (names.empty() ? "" : ", ") + name_sql(text_of(column.front()));
  auto moved = co_await run_write(
      session, statement("INSERT INTO " + name_sql(text_of(target->front().front())) + "(" + names + ") SELECT " +
                             names + " FROM " + name_sql(stage_) + " WHERE outlast_txn = ?1",
                         {txn()}));
  if (!moved.ok()) co_return std::move(moved).error();
  if (*moved == expected) co_return Result<void>();
  co_return Error(Errc::kInternal, "range " + part_.range.to_string() + " holds " + std::to_string(*moved) +
                                       " staged rows of a load and not " + std::to_string(expected));
}

/// The last load of a table takes the hidden table with it.
asio::awaitable<Result<void>> Staging::unstage(gateway::Session& session) {
  auto others = co_await read_rows(
      session, statement("SELECT 1 FROM outlast_load_txn WHERE stage = ?1 AND state IN ('staging', 'prepared') LIMIT 1",
                         {Value(stage_)}));
  if (!others.ok()) co_return std::move(others).error();
  std::vector<gateway::Statement> last;
  if (others->empty())
    for (std::string& text : unstaging_sql(load_.table)) last.push_back(statement(std::move(text)));
  else
    last.push_back(statement("DELETE FROM " + name_sql(stage_) + " WHERE outlast_txn = ?1", {txn()}));
  for (gateway::Statement& each : last)
    if (auto done = co_await run_write(session, std::move(each)); !done.ok()) co_return std::move(done).error();
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
  co_return co_await unstage(session);
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
