#include "loads/staging.h"

#include <iterator>
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
    if (pace_ == Pace::kTogether && wants_one_by_one(done.error())) {
      pace_ = Pace::kAlone;
      way_ = Way::kByRow;
      continue;
    }
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

asio::awaitable<Result<Row>> Staging::look(gateway::Session& session) {
  auto rows = co_await read_rows(
      session,
      statement("SELECT state, batches, rows, checksum, "
                // by its trigger, so that a table that was renamed meanwhile is found
                "(SELECT tbl_name FROM sqlite_schema WHERE type = 'trigger' AND name = ?2 || ':insert'), "
                "(SELECT count(*) FROM outlast_load_txn o WHERE o.stage = ?2 AND o.txn <> ?1 AND o.state IN "
                "('staging', 'prepared')), "
                "(SELECT group_concat('\"' || replace(name, '\"', '\"\"') || '\"', ', ') FROM pragma_table_xinfo(?2) "
                "WHERE hidden = 0 AND name <> 'outlast_txn') "
                "FROM outlast_load_txn WHERE txn = ?1",
                {txn(), Value(stage_)}));
  if (!rows.ok()) co_return std::move(rows).error();
  co_return rows->empty() ? Row() : std::move(rows->front());
}

/// The hidden tables, and this load among them.
asio::awaitable<Result<std::vector<Step>>> Staging::opening(gateway::Session& session) {
  auto shape = co_await read_shape(session, load_.table, range_);
  if (!shape.ok()) co_return std::move(shape).error();
  std::vector<Step> steps;
  if (!shape->knows_loads) steps.push_back({std::string(kTxnTable)});
  if (!shape->has_stage) {
    auto texts = staging_sql(*shape);
    if (!texts.ok()) co_return std::move(texts).error();
    for (std::string& text : *texts) steps.push_back({std::move(text)});
  }
  steps.push_back({"INSERT INTO outlast_load_txn VALUES (?1, ?2, 'staging', 0, 0, 0, ?3, ?4) ON CONFLICT DO NOTHING",
                   {{txn(), Value(stage_), Value(std::int64_t{load_.filter}), Value(cluster_.wall_micros())}}});
  co_return steps;
}

asio::awaitable<Result<void>> Staging::add(std::vector<std::string> columns, PackedRows rows, bool last,
                                           Patience::Until until) {
  batch_.into = {.table = stage_,
                 .columns = std::move(columns),
                 .filter = load_.filter,
                 .first_column = "outlast_txn",
                 .first_value = load_.txn};
  if (pace_ == Pace::kTogether) way_ = way_of(batch_.into);
  batch_.checksum = crc32c(rows.bytes(), static_cast<std::uint32_t>(part_.checksum));
  batch_.rows = std::move(rows);
  batch_.last = last;
  auto added = co_await repeat(&Staging::add_once, until);
  batch_.rows = PackedRows();
  if (!added.ok()) co_return of_the_table(std::move(added).error());
  ++part_.batches;
  part_.rows += batch_.kept;
  part_.checksum = batch_.checksum;
  co_return Result<void>();
}

asio::awaitable<Result<void>> Staging::add_once(gateway::Session& session) {
  std::vector<Step> steps;
  if (part_.batches == 0) {
    auto first = co_await opening(session);
    if (!first.ok()) co_return std::move(first).error();
    steps = *std::move(first);
  }
  for (Step& step : adding()) steps.push_back(std::move(step));
  auto rows = co_await run_steps(session, range_, std::move(steps), pace_);
  if (!rows.ok()) co_return std::move(rows).error();
  if (rows->empty()) co_return co_await claimed_before(session);
  batch_.kept = number_of(rows->front().front()) - part_.rows;
  co_return Result<void>();
}

/// The batch is claimed, or is here already, from an attempt whose answer got lost: then there is no row at the end.
std::vector<Step> Staging::adding() const {
  const std::int64_t next = part_.batches + 1;
  std::vector<Step> steps{
      {.sql =
           "UPDATE outlast_load_txn SET batches = ?2, checksum = ?3 WHERE txn = ?1 AND state = 'staging' AND batches "
           "= ?2 - 1 AND checksum = ?4 AND rows = ?5",
       .params = {{txn(), Value(next), Value(batch_.checksum), Value(part_.checksum), Value(part_.rows)}},
       .must_change = true}};
  if (!batch_.rows.empty()) {
    gateway::Statement insert = insert_statement(batch_.into, batch_.rows, way_);
    steps.push_back({std::move(insert.sql), std::move(insert.params)});
  }
  steps.push_back(
      {.sql = "UPDATE outlast_load_txn SET rows = rows + " + std::string(batch_.rows.empty() ? "0" : "changes()") +
              ", state = ?2, changed = ?3 WHERE txn = ?1",
       .params = {{txn(), Value(std::string(batch_.last ? "prepared" : "staging")), Value(cluster_.wall_micros())}},
       .must_change = true,
       .counts = true});
  steps.push_back({"SELECT rows FROM outlast_load_txn WHERE txn = ?1", {{txn()}}});
  return steps;
}

asio::awaitable<Result<void>> Staging::claimed_before(gateway::Session& session) {
  auto row = co_await look(session);
  if (!row.ok()) co_return std::move(row).error();
  const std::string state = row->empty() ? std::string() : text_of(row->front());
  if (state != "staging" && state != "prepared") co_return aborted();
  if (number_of(row->at(1)) != part_.batches + 1 || number_of(row->at(3)) != batch_.checksum)
    co_return Error(Errc::kInternal, "a batch of a load is missing in range " + part_.range.to_string());
  batch_.kept = number_of(row->at(2)) - part_.rows;
  co_return Result<void>();
}

asio::awaitable<Result<void>> Staging::apply(Patience::Until until) {
  co_return co_await repeat(&Staging::apply_once, until);
}

asio::awaitable<Result<void>> Staging::apply_once(gateway::Session& session) {
  auto row = co_await look(session);
  if (!row.ok()) co_return std::move(row).error();
  const std::string state = row->empty() ? "unknown" : text_of(row->front());
  if (state == "applied") co_return Result<void>();  // done before
  if (state != "prepared")
    co_return Error(Errc::kInternal, "range " + part_.range.to_string() + " has a committed load as " + state);
  auto moved = co_await run_steps(session, range_, applying(*row), pace_);
  if (!moved.ok()) co_return std::move(moved).error();
  const std::int64_t expected = number_of(row->at(2)), now = moved->empty() ? expected : number_of((*moved)[0][0]);
  if (now == expected) co_return Result<void>();
  co_return Error(Errc::kInternal, "range " + part_.range.to_string() + " holds " + std::to_string(now) +
                                       " staged rows of a load and not " + std::to_string(expected));
}

/// Gives how many rows were moved, if there is still a table for them.
std::vector<Step> Staging::applying(const Row& look) const {
  const std::string table = text_of(look.at(4)), names = text_of(look.at(6));
  const bool last = number_of(look.at(5)) == 0;  // no other load has rows in the hidden table
  std::vector<Step> steps{{"UPDATE outlast_load_txn SET state = 'applied', changed = ?2 WHERE txn = ?1",
                           {{txn(), Value(cluster_.wall_micros())}}}};
  std::vector<Step> drop = dropping(last);
  // The table's guards are for writes beside loads, and slow; the last load takes them away before its rows move.
  const auto hidden = std::prev(drop.end());
  steps.insert(steps.end(), std::make_move_iterator(drop.begin()), std::make_move_iterator(hidden));
  if (!table.empty()) {
    steps.push_back({"INSERT INTO " + name_sql(table) + "(" + names + ") SELECT " + names + " FROM " +
                         name_sql(stage_) + " WHERE outlast_txn = ?1",
                     {{txn()}}});
    steps.push_back({.sql = "SELECT changes()", .counts = true});
  }
  steps.push_back(std::move(*hidden));
  return steps;
}

/// Takes the load's rows out of the hidden table; the last load of a table takes all that is hidden with it.
std::vector<Step> Staging::dropping(bool last) const {
  std::vector<Step> steps;
  if (!last) {
    steps.push_back({"DELETE FROM " + name_sql(stage_) + " WHERE outlast_txn = ?1", {{txn()}}});
    return steps;
  }
  for (std::string& text : unguarding_sql(load_.table)) steps.push_back({std::move(text)});
  steps.push_back({"DROP TABLE IF EXISTS " + name_sql(stage_)});
  return steps;
}

asio::awaitable<Result<void>> Staging::sweep(Patience::Until until) {
  co_return co_await repeat(&Staging::sweep_once, until);
}

asio::awaitable<Result<void>> Staging::sweep_once(gateway::Session& session) {
  if (auto made = co_await run_write(session, statement(std::string(kTxnTable))); !made.ok())
    co_return std::move(made).error();
  auto row = co_await look(session);
  if (!row.ok()) co_return std::move(row).error();
  const std::string before = row->empty() ? std::string() : text_of(row->front());
  if (before == "applied")
    co_return Error(Errc::kInternal, "range " + part_.range.to_string() + " has applied a load that was aborted");
  std::vector<Step> steps{
      {"INSERT INTO outlast_load_txn VALUES (?1, ?2, 'aborted', 0, 0, 0, 0, ?3) ON CONFLICT (txn) DO "
       "UPDATE SET state = 'aborted', changed = excluded.changed",
       {{txn(), Value(stage_), Value(cluster_.wall_micros())}}}};
  if (before == "staging" || before == "prepared")
    for (Step& step : dropping(number_of(row->at(5)) == 0)) steps.push_back(std::move(step));
  auto swept = co_await run_steps(session, range_, std::move(steps), pace_);
  if (!swept.ok()) co_return std::move(swept).error();
  co_return Result<void>();
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
