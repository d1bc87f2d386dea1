#include "loads/direct.h"

namespace outlast::loads {
namespace asio = boost::asio;
using executor::Value;

Error unknown_outcome() {
  return {Errc::kUnknownOutcome, "nobody could tell in time whether the load was committed; ask for its label"};
}

std::size_t size_of(const Row& row) {
  std::size_t bytes = 0;
  for (const Value& value : row) {
    bytes += sizeof(Value);
    if (const auto* text = std::get_if<std::string>(&value)) bytes += text->size();
    if (const auto* blob = std::get_if<executor::Blob>(&value)) bytes += blob->bytes.size();
  }
  return bytes;
}

Direct::Direct(gateway::Cluster& cluster, std::string database, std::string table, std::vector<std::string> columns,
               bool filter)
    : cluster_(cluster), database_(std::move(database)) {
  std::string names, values;
  for (std::size_t i = 0; i < columns.size(); ++i) {
    names += (i == 0 ? "" : ", ") + name_sql(columns[i]);
    values += (i == 0 ? "?" : ", ?") + std::to_string(i + 1);
  }
  insert_sql_ = std::string("INSERT ") + (filter ? "OR IGNORE " : "") + "INTO " + name_sql(table) + "(" + names +
                ") VALUES (" + values + ")";
}

asio::awaitable<Result<void>> Direct::begin() {
  if (session_) co_return Result<void>();
  auto fresh = cluster_.open_session();
  if (auto used = co_await fresh->use_database(database_); !used.ok()) co_return used;
  if (auto begun = fresh->begin({.read_only = false, .immediate = true}); !begun.ok()) co_return begun;
  session_ = std::move(fresh);
  co_return Result<void>();
}

asio::awaitable<Result<void>> Direct::insert(Rows rows) {
  if (auto begun = co_await begin(); !begun.ok()) co_return begun;
  gateway::Statement statement;
  statement.sql = insert_sql_;
  statement.params = std::move(rows);
  statement.tag = "INSERT";
  auto inserted = co_await run_write(*session_, std::move(statement));
  if (!inserted.ok()) co_return std::move(inserted).error();
  kept_ += *inserted;
  co_return Result<void>();
}

/// From the first row on, in a new transaction.
asio::awaitable<Result<void>> Direct::run_again() {
  session_.reset();  // rolls back
  kept_ = 0;
  for (const PackedRows& rows : rows_)
    if (auto done = co_await insert(rows.rows()); !done.ok()) co_return done;
  co_return Result<void>();
}

asio::awaitable<Result<void>> Direct::add(Rows rows, Patience::Until until) {
  if (complete_) {
    rows_.emplace_back(rows);
    bytes_ += rows_.back().bytes().size();
    complete_ = bytes_ <= kMemory;
    if (!complete_) rows_.clear();
  }
  auto done = co_await insert(std::move(rows));
  for (Patience patience(until); !done.ok();) {
    if (!complete_) co_return done;
    if (auto again = co_await patience.after(std::move(done).error()); !again.ok()) co_return again;
    done = co_await run_again();
  }
  co_return done;
}

/// False: the label is not in PREPARING any more.
asio::awaitable<Result<bool>> Direct::commit_once(Label label) {
  if (!session_)
    if (auto again = co_await run_again(); !again.ok()) co_return std::move(again).error();
  if (auto begun = co_await begin(); !begun.ok()) co_return std::move(begun).error();
  label.counts.loaded = kept_;
  label.counts.filtered = label.counts.total - kept_;
  auto moved = co_await run_write(
      *session_, Labels::move_statement(label, {State::kPreparing}, State::kDone, cluster_.wall_micros()));
  if (!moved.ok()) co_return std::move(moved).error();
  if (*moved != 1) co_return false;
  if (auto done = co_await loads::commit(*session_); !done.ok()) co_return std::move(done).error();
  co_return true;
}

asio::awaitable<Result<State>> Direct::commit(Label label, Labels* labels, Patience::Until until) {
  for (Patience patience(until);;) {
    auto done = co_await commit_once(label);
    if (done.ok() && *done) co_return State::kDone;
    session_.reset();
    if (!done.ok() && !may_try_again(done.error().code)) co_return std::move(done).error();
    // Lost on its way, or refused because an earlier attempt went through: the label knows.
    auto now = co_await labels->find_txn(label.txn, until);
    if (!now.ok()) co_return std::move(now).error();
    if (now->has_value() && (*now)->state != State::kPreparing) co_return (*now)->state;
    if (done.ok() || !complete_) {
      Error error = done.ok() ? Error(Errc::kNotFound, "the label is gone") : std::move(done).error();
      auto aborted = co_await labels->move(label, {State::kPreparing}, State::kAborted, until);
      if (!aborted.ok()) co_return unknown_outcome();
      if (*aborted == State::kDone) co_return State::kDone;
      co_return error;
    }
    if (auto again = co_await patience.after(std::move(done).error()); !again.ok()) co_return std::move(again).error();
  }
}

asio::awaitable<void> Direct::abort() {
  if (session_) co_await session_->rollback();
  session_.reset();
  rows_.clear();
}

}  // namespace outlast::loads
