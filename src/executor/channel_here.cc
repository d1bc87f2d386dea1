// Short reads on the thread that brought the request: for them the change to a SQL thread and back costs more than
// SQLite does. docs/adr/0006 says why that may be done.
#include "executor/channel_core.h"
#include "executor/transaction_time.h"

namespace outlast::executor {
namespace {

/// Worth a look into the statement cache?
bool may_read(const proto::Run& run) {
  if (run.begin() || run.describe_only() || run.takes_lock() || run.params_size() > 1) return false;
  const std::string& sql = run.sql();
  return !sql.empty() && (sql[0] == 'S' || sql[0] == 's' || sql[0] == 'W' || sql[0] == 'w');
}

}  // namespace

/// Runs the request's statement if it is an autocommit read that is prepared on an idle connection and was quick the
/// last time, as long as it stays within a small budget. False: nothing has happened, a SQL thread has to take it.
bool ChannelCore::read_here() {
  Op& op = *op_;
  if (!op.request.has_run() || !may_read(op.request.run())) return false;
  if (transaction_ || ended_ || portals_.size() >= services_->parameters.portals_max) return false;
  const proto::Run& run = op.request.run();
  Result<replication::LeasedRangePtr> range = lead();
  if (!range.ok()) return false;
  op.connection = services_->connections.acquire_idle(*range);
  if (op.connection == nullptr) return false;
  op.range = std::move(*range);
  op.connection->obey(&stop_);
  op.statement = op.connection->find_quick(run.sql(), run.internal() ? Caller::kInternal : Caller::kClient);
  if (op.statement && answer_quickly()) {
    finish();
    return true;
  }
  op.statement.release();
  services_->connections.give_back(std::move(op.connection));
  op.range.reset();
  op.gate = Lsn();
  op.confirm = false;
  return false;
}

bool ChannelCore::answer_quickly() {
  Op& op = *op_;
  const proto::Run& run = op.request.run();
  sqlite3_stmt* const statement = op.statement.get();
  if (sqlite3_stmt_readonly(statement) == 0) return false;
  if (!bind(statement, run.params_size() == 0 ? proto::Params() : run.params(0), true).ok()) return false;
  const Instant began = services_->clock.now();
  track({.range = op.range, .since = began}, false);
  const TransactionTime time(op.began_micros);
  const PooledConnection::Hurry hurry(*op.connection);
  const int first = sqlite3_step(statement);
  if (first != SQLITE_ROW && first != SQLITE_DONE) return false;
  if (!check_snapshot().ok()) return false;
  Batch batch = collect(statement, first, {services_->parameters.batch_bytes, run.max_rows()});
  op.statement.note_took(services_->clock.now() - began);
  if (batch.end != BatchEnd::kDone) return false;
  services_->counters.reads.fetch_add(1, std::memory_order_relaxed);
  op.reply.set_read_only(true);
  op.reply.set_parameter_count(sqlite3_bind_parameter_count(statement));
  describe_columns(statement, op.reply);
  op.reply.set_rows(std::move(batch.bytes));
  return true;
}

}  // namespace outlast::executor
