#include "loads/direct.h"

#include <utility>

namespace outlast::loads {
namespace asio = boost::asio;
using executor::Value;

Error unknown_outcome() {
  return {Errc::kUnknownOutcome, "nobody could tell in time whether the load was committed; ask for its label"};
}

Direct::Direct(gateway::Cluster& cluster, std::string database, std::string table, std::vector<std::string> columns,
               bool filter)
    : cluster_(cluster),
      database_(std::move(database)),
      into_{.table = std::move(table), .columns = std::move(columns), .filter = filter},
      way_(way_of(into_)) {}

asio::awaitable<Result<void>> Direct::begin() {
  if (session_) co_return Result<void>();
  auto fresh = cluster_.open_session();
  if (auto used = co_await fresh->use_database(database_); !used.ok()) co_return used;
  if (auto begun = fresh->begin({.read_only = false, .immediate = true}); !begun.ok()) co_return begun;
  session_ = std::move(fresh);
  co_return Result<void>();
}

asio::awaitable<Result<void>> Direct::insert(const PackedRows* rows) {
  if (auto begun = co_await begin(); !begun.ok()) co_return begun;
  auto inserted = co_await run_write(*session_, insert_statement(into_, *rows, way_));
  if (!inserted.ok()) co_return std::move(inserted).error();
  kept_ += *inserted;
  co_return Result<void>();
}

/// From the first row on, in a new transaction.
asio::awaitable<Result<void>> Direct::run_again() {
  Result<void> done;
  for (bool once_more = true; std::exchange(once_more, false);) {
    session_.reset();  // rolls back
    kept_ = 0;
    for (auto rows = rows_.begin(); rows != rows_.end() && done.ok(); ++rows) done = co_await insert(&*rows);
    if (done.ok() || way_ == Way::kByRow || !wants_rows(done.error())) break;
    way_ = Way::kByRow;
    done = {};
    once_more = true;
  }
  co_return done;
}

asio::awaitable<Result<void>> Direct::add(PackedRows rows, Patience::Until until) {
  const bool first = rows_.empty();
  bytes_ += rows.bytes().size();
  complete_ = complete_ && (first || bytes_ <= kMemory);
  if (!complete_) rows_.clear();
  rows_.push_back(std::move(rows));
  auto done = co_await insert(&rows_.back());
  for (Patience patience(until); !done.ok();) {
    if (!complete_) co_return done;
    if (!wants_rows(done.error()))
      if (auto again = co_await patience.after(std::move(done).error()); !again.ok()) co_return again;
    done = co_await run_again();
  }
  co_return done;
}

/// False: the label is not in PREPARING any more, or it is there although nobody claimed it.
asio::awaitable<Result<bool>> Direct::commit_once(Label label, bool claimed) {
  if (!session_)
    if (auto again = co_await run_again(); !again.ok()) co_return std::move(again).error();
  if (auto begun = co_await begin(); !begun.ok()) co_return std::move(begun).error();
  label.counts.loaded = kept_;
  label.counts.filtered = label.counts.total - kept_;
  const std::int64_t now = cluster_.wall_micros();
  gateway::Statement last;
  if (claimed) {
    last = Labels::move_statement(label, {State::kPreparing}, State::kDone, now);
  } else {
    label.state = State::kDone;
    label.changed = now;
    last = Labels::insert_statement(label);
  }
  auto moved = co_await run_write(*session_, std::move(last));
  if (!moved.ok()) co_return std::move(moved).error();
  if (*moved != 1) co_return false;
  if (auto done = co_await loads::commit(*session_); !done.ok()) co_return std::move(done).error();
  co_return true;
}

asio::awaitable<Result<State>> Direct::commit(Label label, bool claimed, Labels* labels, Patience::Until until) {
  for (Patience patience(until);;) {
    auto done = co_await commit_once(label, claimed);
    if (done.ok() && *done) co_return State::kDone;
    session_.reset();
    if (!done.ok() && Labels::lacks_tables(done.error())) {
      if (auto made = co_await labels->make_tables(until); !made.ok()) co_return std::move(made).error();
      continue;
    }
    if (!done.ok() && !may_try_again(done.error().code)) co_return std::move(done).error();
    // Lost on its way, or refused because an earlier attempt went through: the label knows.
    auto now = co_await labels->find_txn(label.txn, until);
    if (!now.ok()) co_return std::move(now).error();
    if (now->has_value() && (*now)->state != State::kPreparing) co_return (*now)->state;
    if (done.ok() && !claimed) co_return State::kPreparing;
    if (done.ok()) co_return co_await give_up(label, Error(Errc::kNotFound, "the label is gone"), labels, until);
    if (!complete_) co_return co_await give_up(label, std::move(done).error(), labels, until);
    if (auto again = co_await patience.after(std::move(done).error()); !again.ok()) co_return std::move(again).error();
  }
}

/// What cannot be run again is aborted, unless it turns out to be in.
asio::awaitable<Result<State>> Direct::give_up(Label label, Error why, Labels* labels, Patience::Until until) {
  auto aborted = co_await labels->move(label, {State::kPreparing}, State::kAborted, until);
  if (!aborted.ok()) co_return unknown_outcome();
  if (*aborted == State::kDone) co_return State::kDone;
  co_return why;
}

asio::awaitable<void> Direct::abort() {
  if (session_) co_await session_->rollback();
  session_.reset();
  rows_.clear();
}

}  // namespace outlast::loads
