#pragma once
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/loop.h"
#include "executor/authorizer.h"
#include "executor/statement_cache.h"
#include "executor/stop_signal.h"
#include "replication/leased_range.h"
#include "storage/database.h"

namespace outlast::executor {

/// Registers Outlast's SQL functions on a new connection.
using ConnectionSetup = std::function<void(sqlite3*)>;

/// A connection to a leading range, dressed for clients: authorizer, stop signal, size limit, prepared statements.
/// Keeps its range, and with it the database, alive. Thread-safety: one thread at a time.
class PooledConnection {
 public:
  PooledConnection(replication::LeasedRangePtr range, std::unique_ptr<storage::Connection> connection,
                   const Clock& clock, std::size_t statements);
  ~PooledConnection();
  PooledConnection(const PooledConnection&) = delete;
  PooledConnection& operator=(const PooledConnection&) = delete;

  sqlite3* raw() { return connection_->raw(); }
  storage::Connection& storage() { return *connection_; }
  const replication::LeasedRangePtr& range() const { return range_; }

  /// Obey this signal until told otherwise; null = run to the end.
  void obey(StopSignal* stop) { stop_ = stop; }
  /// Errors are ready for the client: kInsufficientPrivilege, kSyntax, …
  Result<StatementLease> prepare(const std::string& sql, Caller caller);
  /// A statement that is prepared here and was quick the last time; else none.
  StatementLease find_quick(const std::string& sql, Caller caller) {
    act_for(caller);
    return statements_.find_quick(sql, caller);
  }
  /// While one lives, a statement ends with SQLITE_INTERRUPT after some 1,500 instructions.
  class Hurry {
   public:
    explicit Hurry(PooledConnection& connection) : left_(connection.checks_left_) { left_ = kChecks; }
    ~Hurry() { left_ = -1; }
    Hurry(const Hurry&) = delete;
    Hurry& operator=(const Hurry&) = delete;

   private:
    static constexpr int kChecks = 15;
    int& left_;
  };
  /// Runs one statement of the executor's own to its end; returns SQLite's code.
  int run_own(const std::string& sql);
  /// Why the stop signal ended, or is about to end, the statement.
  Error stopped_error() const;
  /// What went wrong, after SQLite answered `code`: our own refusal if there was one, else SQLite's reason.
  Error error(int code);
  /// The authorizer asks again when SQLite prepares a statement anew after a change of the schema.
  void act_for(Caller caller) {
    caller_ = caller;
    refused_.clear();
  }

 private:
  static int on_authorize(void* self, int code, const char* a, const char* b, const char* db, const char* trigger);
  static int on_progress(void* self);

  replication::LeasedRangePtr range_;  ///< First, so that it goes last.
  std::unique_ptr<storage::Connection> connection_;
  StatementCache statements_;
  const Clock& clock_;
  StopSignal* stop_{nullptr};
  int checks_left_{-1};  ///< In a hurry: calls of the progress handler until it ends the statement.
  Caller caller_{Caller::kClient};
  std::string refused_;
};

/// Idle connections of all ranges, least recently used out first, so that idle ranges cost nothing.
/// Thread-safety: any thread; acquire and those that drop connections block for SQLite (SQL threads only).
class ConnectionPool {
 public:
  struct Limits {
    std::size_t connections{1000};  ///< In use and idle, over all ranges.
    std::size_t statements{64};     ///< Prepared statements kept for each.
    Duration idle{std::chrono::seconds(60)};
  };
  ConnectionPool(const Clock& clock, Limits limits, ConnectionSetup setup);

  /// kTooManyConnections when all are in use.
  Result<std::unique_ptr<PooledConnection>> acquire(const replication::LeasedRangePtr& range);
  /// One that is open and idle, or null. Never blocks.
  std::unique_ptr<PooledConnection> acquire_idle(const replication::LeasedRangePtr& range);
  /// Keeps it for the next one, unless a transaction is still open on it or its range is over.
  void give_back(std::unique_ptr<PooledConnection> connection);
  /// Closes connections idle for too long and those of ranges that are over.
  void sweep(Instant now);
  bool has_idle() const;
  std::size_t open() const;

 private:
  struct Idle {
    std::unique_ptr<PooledConnection> connection;
    Instant since;
  };
  using IdleList = std::list<Idle>;
  std::unique_ptr<PooledConnection> take(IdleList::iterator it);

  const Clock& clock_;
  const Limits limits_;
  const ConnectionSetup setup_;
  mutable std::mutex mutex_;
  IdleList idle_;  ///< Most recently used first.
  std::unordered_map<const replication::LeasedRange*, std::vector<IdleList::iterator>> by_range_;
  std::size_t open_{0};
};

/// True once this node does not lead the range any more (a closed gate is not the end).
bool is_over(const replication::LeasedRange& range);

}  // namespace outlast::executor
