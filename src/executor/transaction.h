#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "executor/connection_pool.h"
#include "executor/result_rows.h"
#include "replication/leased_range.h"

namespace outlast::executor {

/// How long something has kept a read snapshot open, and of what range.
struct Held {
  replication::LeasedRangePtr range;
  Instant since{};
  Instant over_since{Instant::max()};  ///< When the range was first seen to be over.
};

/// The rest of a result that a session may still fetch: an open statement, or rows kept in memory.
struct Portal {
  std::unique_ptr<PooledConnection> own;  ///< The reader it keeps; null inside a transaction. Outlives `statement`.
  StatementLease statement;
  std::optional<StoredRows> stored;
  std::optional<Error> dead;  ///< Why it cannot be fetched any more; all of the above is gone then.
  Held held;
  Lsn gate;
  Caller caller{Caller::kClient};
  std::size_t savepoints{0};  ///< Depth at which it was opened.
  bool in_transaction{false};
};

/// An explicit transaction: its connection, the writer lock once it has written, its savepoints and what its first
/// snapshot depends on. Owned by one channel; touched on SQL threads only, one at a time.
class Transaction {
 public:
  explicit Transaction(std::unique_ptr<PooledConnection> connection)
      : held{.range = connection->range()}, connection_(std::move(connection)) {}

  PooledConnection& connection() { return *connection_; }
  const replication::LeasedRangePtr& range() const { return held.range; }
  /// SQLite's own transaction is gone (it rolls everything back after some errors): only ROLLBACK helps.
  bool broken() { return sqlite3_get_autocommit(connection_->raw()) != 0; }

  Result<void> set_savepoint(const std::string& name);
  Result<void> release_savepoint(const std::string& name);
  /// The number of savepoints that are left, the named one included.
  Result<std::size_t> rollback_to(const std::string& name);
  std::size_t savepoints() const { return savepoints_.size(); }

  /// Rolls back what is open, then gives the connection and the writer lock back, in this order.
  void end(ConnectionPool& pool);

  std::int64_t began_micros{0};  ///< Wall clock, for now().
  replication::WriterLock::Hold hold;
  bool snapshot{false};   ///< A snapshot was taken while this node led; `gate`, `held` and `confirmed` belong to it.
  bool confirmed{false};  ///< ... and it was found valid: by the lease, or by the other in-sync replicas (A4.6).
  bool failed{false};     ///< A statement failed: nothing but ROLLBACK or ROLLBACK TO is allowed.
  Lsn gate;
  Held held;

 private:
  Result<std::size_t> find_savepoint(const std::string& name) const;
  Result<void> run(const char* command, std::size_t index);

  std::unique_ptr<PooledConnection> connection_;
  std::vector<std::string>
      savepoints_;  ///< The client's names; SQLite knows them as s0, s1, … (its names ignore case).
};

}  // namespace outlast::executor
