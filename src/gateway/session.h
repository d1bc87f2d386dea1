#pragma once
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/loop.h"
#include "base/result.h"
#include "executor/value.h"

namespace outlast::gateway {

struct Column {
  std::string name;
  std::string decl_type;  ///< As in CREATE TABLE; empty for an expression.
  std::string table;      ///< Origin, empty for an expression.
  std::string origin;
};

/// One translated statement, ready for SQLite.
struct Statement {
  std::string sql;
  std::vector<std::vector<executor::Value>> params;  ///< One execution per element; empty = once, without parameters.
  std::string tag;                                   ///< For the request's outcome: "INSERT", "UPDATE", …
  std::uint64_t max_rows{0};                         ///< 0 = all; else stop and keep a portal open.
  bool internal{false};                              ///< Outlast's own catalog read.
  bool takes_lock{false};                            ///< In a transaction: take the writer lock first (FOR UPDATE).
  /// Where it runs; nullopt: the database's own range. A transaction stays in the range of its first statement, another
  /// one is refused with kActiveTransaction before anything is done.
  std::optional<RangeId> range{};
  bool fragment{false};  ///< Part of a query over several ranges: a node that leaves counts it as such.
};

/// A piece of a result.
struct Rows {
  std::vector<Column> columns;  ///< In the first piece only.
  std::string bytes;            ///< executor/row_batch.h, columns.size() values a row.
  std::uint64_t portal{0};      ///< Non-zero: more rows wait, see Session::fetch.
  bool suspended{false};        ///< Stopped by max_rows.
  std::int64_t changes{0};
  std::int64_t parameter_count{0};
  bool read_only{true};
};

enum class TxnStatus : std::uint8_t { kIdle = 'I', kActive = 'T', kFailed = 'E' };

struct TxnOptions {
  bool read_only{false};
  bool immediate{false};
};

/// Limits of a client's statements, from its SET commands and the cluster settings. 0 = none.
struct Limits {
  Duration statement_timeout{0};
  Duration lock_timeout{std::chrono::seconds(5)};
  Duration idle_in_transaction_timeout{std::chrono::seconds(60)};
};

/// The latest answer that a client got: durable in that epoch.
struct Seen {
  RangeId range;
  Epoch epoch;
  Lsn lsn;
};

/// One client's SQL state at its gateway: database, transaction, routing. Statements go to the leaseholder of the
/// database's range, here or elsewhere. A statement that provably did nothing is repeated unseen while its deadline
/// allows; a transaction that lost its leaseholder fails with kTransactionLost (40001); a write whose fate nobody knows
/// with kUnknownOutcome (40003). No reply leaves before everything it depends on is durable.
/// Thread-safety: one coroutine at a time; interrupt() from any thread.
class Session {
 public:
  virtual ~Session() = default;
  /// kUndefinedDatabase. Refused with kActiveTransaction inside a transaction.
  virtual boost::asio::awaitable<Result<void>> use_database(std::string name) = 0;
  virtual const std::string& database() const = 0;
  virtual TxnStatus status() const = 0;
  virtual Limits& limits() = 0;
  /// For a session that moves to another worker: what it saw, and going on with that there. Nobody is asked, not even
  /// whether the database still exists: the next statement finds out.
  virtual Seen seen() const = 0;
  virtual void resume(std::string database, Seen seen) = 0;

  /// Outside a transaction: in one of its own. An error inside a transaction fails it (25P02 until its end).
  virtual boost::asio::awaitable<Result<Rows>> run(Statement statement) = 0;
  virtual boost::asio::awaitable<Result<Rows>> fetch(std::uint64_t portal, std::uint64_t max_rows) = 0;
  virtual boost::asio::awaitable<void> close_portal(std::uint64_t portal) = 0;
  /// Columns and number of parameters, nothing is run.
  virtual boost::asio::awaitable<Result<Rows>> describe(std::string sql, bool internal) = 0;

  /// Cheap: the leaseholder learns of it with the first statement.
  virtual Result<void> begin(TxnOptions options) = 0;
  /// A failed transaction is rolled back instead: returns false then.
  virtual boost::asio::awaitable<Result<bool>> commit() = 0;
  virtual boost::asio::awaitable<void> rollback() = 0;
  enum class SavepointAction : std::uint8_t { kSet, kRelease, kRollbackTo };
  /// kRollbackTo also revives a failed transaction. kInvalidSavepoint, kNoActiveTransaction.
  virtual boost::asio::awaitable<Result<void>> savepoint(SavepointAction action, std::string name) = 0;
  /// Marks the transaction failed: an error that the executor did not see (translation, type) happened in it.
  virtual void fail_transaction() = 0;
  /// Ends the running statement with kCancelled.
  virtual void interrupt() = 0;
};

}  // namespace outlast::gateway
