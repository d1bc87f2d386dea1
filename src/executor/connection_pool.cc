#include "executor/connection_pool.h"

#include <algorithm>

#include "executor/rows_table.h"
#include "executor/sqlite_error.h"

namespace outlast::executor {
namespace {
constexpr int kInstructionsBetweenChecks = 100;  // some 2 us; much longer with functions of long texts
constexpr int kValueBytesMax = 256 << 20;
}  // namespace

bool is_over(const replication::LeasedRange& range) {
  const Result<void> admitted = range.admit();
  if (admitted.ok()) return false;
  const Errc code = admitted.error().code;  // a closed gate or missing replicas come and go; these do not
  return code == Errc::kNotLeaseholder || code == Errc::kStaleEpoch || code == Errc::kFenced;
}

PooledConnection::PooledConnection(replication::LeasedRangePtr range, std::unique_ptr<storage::Connection> connection,
                                   const Clock& clock, std::size_t statements)
    : range_(std::move(range)),
      connection_(std::move(connection)),
      statements_(connection_->raw(), statements),
      clock_(clock) {
  sqlite3_extended_result_codes(raw(), 1);
  sqlite3_limit(raw(), SQLITE_LIMIT_LENGTH, kValueBytesMax);
  add_rows_table(raw());
  sqlite3_set_authorizer(raw(), &PooledConnection::on_authorize, this);
  sqlite3_progress_handler(raw(), kInstructionsBetweenChecks, &PooledConnection::on_progress, this);
}

PooledConnection::~PooledConnection() {
  stop_ = nullptr;
}

int PooledConnection::on_authorize(void* self, int code, const char* a, const char* b, const char* db, const char*) {
  auto* me = static_cast<PooledConnection*>(self);
  std::optional<std::string> why = refusal(me->caller_, {code, a, b, db});
  if (!why) return SQLITE_OK;
  me->refused_ = std::move(*why);
  return SQLITE_DENY;
}

int PooledConnection::on_progress(void* self) {
  auto* me = static_cast<PooledConnection*>(self);
  if (me->checks_left_ >= 0 && me->checks_left_-- == 0) return 1;
  return me->stop_ != nullptr && me->stop_->check(me->clock_.now()) ? 1 : 0;
}

Result<StatementLease> PooledConnection::prepare(const std::string& sql, Caller caller) {
  act_for(caller);
  int code = SQLITE_OK;
  Result<StatementLease> lease = statements_.prepare(sql, caller, code);
  if (code != SQLITE_OK) return error(code);
  return lease;
}

int PooledConnection::run_own(const std::string& sql) {
  const Caller before = caller_;
  act_for(Caller::kOwn);
  StopSignal* const stop = std::exchange(stop_, nullptr);  // a half-done COMMIT or ROLLBACK helps nobody
  int code = SQLITE_OK;
  {
    Result<StatementLease> lease = statements_.prepare(sql, Caller::kOwn, code);
    if (code == SQLITE_OK && lease.ok()) {
      while ((code = sqlite3_step(lease->get())) == SQLITE_ROW) {
      }
      if (code == SQLITE_DONE) code = SQLITE_OK;
    }
  }
  stop_ = stop;
  act_for(before);
  return code;
}

Error PooledConnection::stopped_error() const {
  switch (stop_ == nullptr ? StopWhy::kRangeOver : stop_->why()) {
    case StopWhy::kCancelled:
    case StopWhy::kClosed:
      return Error(Errc::kCancelled, "canceling statement due to user request");
    case StopWhy::kDeadline:
      return Error(Errc::kDeadline, "canceling statement due to statement timeout");
    case StopWhy::kSnapshot:
      return Error(Errc::kSerialization, "the statement's snapshot was held too long; run it again in smaller steps");
    case StopWhy::kNone:
    case StopWhy::kRangeOver:
      break;
  }
  return Error(Errc::kNotLeaseholder, "this node stopped leading the database while the statement ran");
}

Error PooledConnection::error(int code) {
  const int primary = code & 0xff;
  if (primary == SQLITE_INTERRUPT) return stopped_error();
  // a refusal while the statement runs (VACUUM's ATTACH), or of a function, comes as SQLITE_ERROR
  if (!refused_.empty()) return Error(Errc::kInsufficientPrivilege, std::exchange(refused_, {}));
  Error refused_commit = connection_->take_commit_error();
  if (refused_commit.code != Errc::kInternal) return refused_commit;
  if (primary == SQLITE_BUSY)
    return Error(Errc::kSerialization,
                 "could not serialize access: the data changed since this transaction's snapshot");
  if (primary == SQLITE_ABORT)
    return Error(Errc::kUndefinedCursor, "the cursor ended when the transaction was rolled back to a savepoint");
  if (primary == SQLITE_TOOBIG)
    return Error(Errc::kTooLarge, "a value or statement is larger than 256 MiB; store it in pieces");
  return map_sqlite_error(code, sqlite3_errmsg(raw()));
}

ConnectionPool::ConnectionPool(const Clock& clock, Limits limits, ConnectionSetup setup)
    : clock_(clock), limits_(limits), setup_(std::move(setup)) {}

std::unique_ptr<PooledConnection> ConnectionPool::take(IdleList::iterator it) {
  std::unique_ptr<PooledConnection> connection = std::move(it->connection);
  const auto slot = by_range_.find(connection->range().get());
  std::erase(slot->second, it);
  if (slot->second.empty()) by_range_.erase(slot);
  idle_.erase(it);
  return connection;
}

Result<std::unique_ptr<PooledConnection>> ConnectionPool::acquire(const replication::LeasedRangePtr& range) {
  std::unique_ptr<PooledConnection> evicted;
  {
    const std::lock_guard lock(mutex_);
    if (const auto slot = by_range_.find(range.get()); slot != by_range_.end()) return take(slot->second.back());
    if (open_ >= limits_.connections) {
      if (idle_.empty())
        return Error(Errc::kTooManyConnections,
                     "this node runs as many statements and transactions as it may; try again when some have ended");
      evicted = take(std::prev(idle_.end()));
      --open_;
    }
    ++open_;
  }
  evicted.reset();
  Result<std::unique_ptr<storage::Connection>> fresh = range->database().connect();
  if (!fresh.ok()) {
    const std::lock_guard lock(mutex_);
    --open_;
    return std::move(fresh).error();
  }
  if (setup_) setup_((*fresh)->raw());
  return std::make_unique<PooledConnection>(range, std::move(*fresh), clock_, limits_.statements);
}

std::unique_ptr<PooledConnection> ConnectionPool::acquire_idle(const replication::LeasedRangePtr& range) {
  const std::lock_guard lock(mutex_);
  const auto slot = by_range_.find(range.get());
  return slot == by_range_.end() ? nullptr : take(slot->second.back());
}

void ConnectionPool::give_back(std::unique_ptr<PooledConnection> connection) {
  if (connection == nullptr) return;
  connection->obey(nullptr);
  const bool clean = sqlite3_get_autocommit(connection->raw()) != 0 && !is_over(*connection->range());
  {
    const std::lock_guard lock(mutex_);
    if (clean) {
      const replication::LeasedRange* key = connection->range().get();
      idle_.push_front({std::move(connection), clock_.now()});
      by_range_[key].push_back(idle_.begin());
      return;
    }
    --open_;
  }
  connection.reset();  // outside the lock: closing may take a while
}

void ConnectionPool::sweep(Instant now) {
  std::vector<std::unique_ptr<PooledConnection>> gone;
  {
    const std::lock_guard lock(mutex_);
    for (auto it = idle_.begin(); it != idle_.end();) {
      const auto next = std::next(it);
      if (now - it->since >= limits_.idle || is_over(*it->connection->range())) {
        gone.push_back(take(it));
        --open_;
      }
      it = next;
    }
  }
}

bool ConnectionPool::has_idle() const {
  const std::lock_guard lock(mutex_);
  return !idle_.empty();
}

std::size_t ConnectionPool::open() const {
  const std::lock_guard lock(mutex_);
  return open_;
}

}  // namespace outlast::executor
