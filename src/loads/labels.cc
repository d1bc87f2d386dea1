#include "loads/labels.h"

namespace outlast::loads {
namespace asio = boost::asio;
using executor::Value;

namespace {
constexpr std::string_view kColumns =
    "txn, label, state, table_name, parts, total, loaded, filtered, bytes, error, owner, created, expires, changed, "
    "swept";
constexpr std::string_view kTables[] = {
    "CREATE TABLE IF NOT EXISTS outlast_load_label(txn INTEGER PRIMARY KEY, label TEXT NOT NULL, state TEXT NOT NULL, "
    "table_name TEXT NOT NULL, parts TEXT NOT NULL, total INTEGER NOT NULL, loaded INTEGER NOT NULL, filtered INTEGER "
    "NOT NULL, bytes INTEGER NOT NULL, error TEXT NOT NULL, owner TEXT NOT NULL, created INTEGER NOT NULL, expires "
    "INTEGER NOT NULL, changed INTEGER NOT NULL, swept INTEGER NOT NULL)",
    "CREATE UNIQUE INDEX IF NOT EXISTS outlast_load_label_once ON outlast_load_label(label) WHERE state <> 'ABORTED'",
    "CREATE INDEX IF NOT EXISTS outlast_load_label_state ON outlast_load_label(state)"};

std::string select(const std::string& rest) {
  return "SELECT " + std::string(kColumns) + " FROM outlast_load_label " + rest;
}

Result<Label> label_of(const Row& row) {
  Label out;
  const std::optional<State> state = state_from(text_of(row[2]));
  if (!state) return Error(Errc::kCorrupt, "a load's label has a state that this version does not know");
  ASSIGN_OR_RETURN(out.parts, decode_parts(text_of(row[4])));
  out.txn = number_of(row[0]);
  out.label = text_of(row[1]);
  out.state = *state;
  out.table = text_of(row[3]);
  out.counts = {number_of(row[5]), number_of(row[6]), number_of(row[7]), number_of(row[8])};
  out.error = text_of(row[9]);
  out.owner = text_of(row[10]);
  out.created = number_of(row[11]);
  out.expires = number_of(row[12]);
  out.changed = number_of(row[13]);
  out.swept = number_of(row[14]) != 0;
  return out;
}

Result<std::optional<Label>> first_of(const Result<Rows>& rows) {
  if (!rows.ok()) return rows.error();
  if (rows->empty()) return std::optional<Label>();
  ASSIGN_OR_RETURN(Label label, label_of(rows->front()));
  return std::optional<Label>(std::move(label));
}
}  // namespace

asio::awaitable<Result<gateway::Session*>> Labels::session() {
  if (!session_) {
    auto fresh = cluster_.open_session();
    if (auto used = co_await fresh->use_database(database_); !used.ok()) co_return std::move(used).error();
    session_ = std::move(fresh);
  }
  co_return session_.get();
}

/// No table yet means no label.
asio::awaitable<Result<Rows>> Labels::read(gateway::Statement statement, Patience::Until until) {
  for (Patience patience(until);;) {
    auto session = co_await this->session();
    if (!session.ok()) co_return std::move(session).error();
    auto rows = co_await read_rows(**session, statement);
    if (rows.ok()) co_return rows;
    if (rows.error().code == Errc::kUndefinedTable) co_return Rows();
    session_.reset();
    if (auto again = co_await patience.after(std::move(rows).error()); !again.ok()) co_return std::move(again).error();
  }
}

/// `statement` may run several times.
asio::awaitable<Result<std::int64_t>> Labels::write(gateway::Statement statement, Patience::Until until) {
  for (Patience patience(until);;) {
    auto session = co_await this->session();
    if (!session.ok()) co_return std::move(session).error();
    auto changes = co_await run_write(**session, statement);
    if (changes.ok()) co_return changes;
    session_.reset();
    if (auto again = co_await patience.after(std::move(changes).error()); !again.ok())
      co_return std::move(again).error();
  }
}

asio::awaitable<Result<void>> Labels::make_tables(Patience::Until until) {
  for (const std::string_view text : kTables)
    if (auto made = co_await write(own_statement(std::string(text), std::nullopt), until); !made.ok())
      co_return std::move(made).error();
  co_return Result<void>();
}

asio::awaitable<Result<std::optional<Label>>> Labels::find(std::string label, Patience::Until until) {
  const auto rows =
      co_await read(own_statement(select("WHERE label = ?1 ORDER BY state = 'ABORTED', created DESC LIMIT 1"),
                                  std::nullopt, {Value(std::move(label))}),
                    until);
  co_return first_of(rows);
}

asio::awaitable<Result<std::optional<Label>>> Labels::find_txn(std::int64_t txn, Patience::Until until) {
  const auto rows = co_await read(own_statement(select("WHERE txn = ?1"), std::nullopt, {Value(txn)}), until);
  co_return first_of(rows);
}

asio::awaitable<Result<std::vector<Label>>> Labels::unfinished(std::int64_t before, Patience::Until until) {
  auto rows = co_await read(own_statement(select("WHERE state IN ('PREPARING', 'PREPARED', 'COMMITTED') OR state = "
                                                 "'ABORTED' AND NOT swept OR state IN ('DONE', 'ABORTED') AND changed "
                                                 "< ?1 LIMIT 1000"),
                                          std::nullopt, {Value(before)}),
                            until);
  if (!rows.ok()) co_return std::move(rows).error();
  std::vector<Label> labels;
  for (const Row& row : *rows) {
    auto label = label_of(row);
    if (!label.ok()) co_return std::move(label).error();
    labels.push_back(*std::move(label));
  }
  co_return labels;
}

gateway::Statement Labels::insert_statement(const Label& label) {
  // Again after a lost answer: its own number is there already.
  return own_statement(
      "INSERT INTO outlast_load_label(" + std::string(kColumns) +
          ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) ON CONFLICT DO NOTHING",
      std::nullopt,
      {Value(label.txn), Value(label.label), Value(std::string(to_string(label.state))), Value(label.table),
       Value(encode(label.parts)), Value(label.counts.total), Value(label.counts.loaded), Value(label.counts.filtered),
       Value(label.counts.bytes), Value(label.error), Value(label.owner), Value(label.created), Value(label.expires),
       Value(label.changed), Value(std::int64_t{label.state == State::kAborted && label.parts.empty()})});
}

bool Labels::lacks_tables(const Error& error) {
  return error.code == Errc::kUndefinedTable && error.message.find("outlast_load_label") != std::string::npos;
}

asio::awaitable<Result<bool>> Labels::insert(Label label, Patience::Until until) {
  auto statement = insert_statement(label);
  auto inserted = co_await write(statement, until);
  if (!inserted.ok() && lacks_tables(inserted.error())) {
    if (auto made = co_await make_tables(until); !made.ok()) co_return std::move(made).error();
    inserted = co_await write(std::move(statement), until);
  }
  if (!inserted.ok()) co_return std::move(inserted).error();
  if (*inserted == 1) co_return true;
  auto mine = co_await find_txn(label.txn, until);
  if (!mine.ok()) co_return std::move(mine).error();
  co_return mine->has_value() && (*mine)->label == label.label;
}

gateway::Statement Labels::move_statement(const Label& label, const std::vector<State>& from, State to,
                                          std::int64_t now) {
  std::string states;
  for (const State state : from) states += (states.empty() ? "" : ", ") + text_sql(to_string(state));
  return own_statement(
      "UPDATE outlast_load_label SET state = ?2, parts = ?3, total = ?4, loaded = ?5, filtered = ?6, "
      "bytes = ?7, error = ?8, expires = ?9, changed = ?10, swept = ?11, owner = ?12 WHERE txn = ?1 AND state IN (" +
          states + ")",
      std::nullopt,
      {Value(label.txn), Value(std::string(to_string(to))), Value(encode(label.parts)), Value(label.counts.total),
       Value(label.counts.loaded), Value(label.counts.filtered), Value(label.counts.bytes), Value(label.error),
       Value(label.expires), Value(now), Value(std::int64_t{to == State::kAborted && label.parts.empty()}),
       Value(label.owner)});
}

asio::awaitable<Result<State>> Labels::move(Label label, std::vector<State> from, State to, Patience::Until until) {
  auto moved = co_await write(move_statement(label, from, to, cluster_.wall_micros()), until);
  if (!moved.ok()) co_return std::move(moved).error();
  if (*moved == 1) co_return to;
  auto now = co_await find_txn(label.txn, until);
  if (!now.ok()) co_return std::move(now).error();
  if (!now->has_value()) co_return Error(Errc::kNotFound, "label \"" + label.label + "\" is not known any more");
  co_return (*now)->state;
}

asio::awaitable<Result<void>> Labels::set_swept(std::int64_t txn, Patience::Until until) {
  auto done = co_await write(
      own_statement("UPDATE outlast_load_label SET swept = 1 WHERE txn = ?1", std::nullopt, {Value(txn)}), until);
  if (!done.ok()) co_return std::move(done).error();
  co_return Result<void>();
}

asio::awaitable<Result<void>> Labels::set_error(std::int64_t txn, std::string error, Patience::Until until) {
  auto done = co_await write(own_statement("UPDATE outlast_load_label SET error = ?2 WHERE txn = ?1", std::nullopt,
                                           {Value(txn), Value(std::move(error))}),
                             until);
  if (!done.ok()) co_return std::move(done).error();
  co_return Result<void>();
}

asio::awaitable<Result<void>> Labels::remove(std::int64_t txn, Patience::Until until) {
  auto done = co_await write(own_statement("DELETE FROM outlast_load_label WHERE txn = ?1 AND state IN ('DONE', "
                                           "'ABORTED')",
                                           std::nullopt, {Value(txn)}),
                             until);
  if (!done.ok()) co_return std::move(done).error();
  co_return Result<void>();
}

}  // namespace outlast::loads
