// Statements: Run, FetchRows, ClosePortal. All on SQL threads, as steps of one request.
#include "executor/channel_core.h"

namespace outlast::executor {

void ChannelCore::handle_request() {
  switch (op_->request.body_case()) {
    case proto::ExecRequest::kRun:
      return handle_run();
    case proto::ExecRequest::kFetch:
      return handle_fetch();
    case proto::ExecRequest::kClosePortal:
      return handle_close_portal();
    case proto::ExecRequest::kCommit:
      return handle_commit();
    case proto::ExecRequest::kRollback:
      return handle_rollback();
    case proto::ExecRequest::kSavepoint:
      return handle_savepoint();
    case proto::ExecRequest::kResolve:
      return handle_resolve();
    case proto::ExecRequest::kCompute:  // compute::ServedChannel takes it before it comes here
    case proto::ExecRequest::BODY_NOT_SET:
      break;
  }
  fail(Error(Errc::kProtocolViolation, "the request says nothing that this version knows; upgrade this node"));
}

/// The addressed range, if this node leads it in the addressed epoch and takes new work for it.
Result<replication::LeasedRangePtr> ChannelCore::lead() const {
  if (op_->request.epoch() == 0)  // a write may only happen in the epoch in which its gateway will look for it
    return Error(Errc::kProtocolViolation, "the request names no epoch");
  ASSIGN_OR_RETURN(replication::LeasedRangePtr range,
                   services_->directory.find(RangeId(op_->request.range()), Epoch(op_->request.epoch())));
  TRY(range->admit());
  return range;
}

void ChannelCore::handle_run() {
  const proto::Run& run = op_->request.run();
  if (ended_ && !run.begin()) return fail(Error(*ended_));
  if (portals_.size() >= services_->parameters.portals_max)  // before a write is done whose rows would have no place
    return fail(Error(Errc::kFeatureLimit, "too many open cursors in this session; close some of them"));
  if (!run.begin()) return run_statement();
  ended_.reset();
  if (transaction_) return fail(Error(Errc::kActiveTransaction, "there is already a transaction in progress"));
  const Result<void> opened = open_transaction();
  if (!opened.ok()) return fail(opened.error());
  if (run.immediate()) return with_lock(&ChannelCore::begin_immediate);
  run_statement();
}

void ChannelCore::run_statement() {
  Op& op = *op_;
  const proto::Run& run = op.request.run();
  if (transaction_) {
    const Result<void> usable = require_transaction();
    if (!usable.ok()) return fail(usable.error());
  } else {
    Result<replication::LeasedRangePtr> range = lead();
    if (!range.ok()) return fail(std::move(range).error());
    op.range = std::move(*range);
    auto connection = services_->connections.acquire(op.range);
    if (!connection.ok()) return fail(std::move(connection).error());
    op.connection = std::move(*connection);
    track({.range = op.range, .since = services_->clock.now()}, false);
  }
  PooledConnection& db = connection();
  db.obey(&stop_);
  if (stop_.check(services_->clock.now())) return fail(db.stopped_error());
  if (take_script()) return start_write();
  Result<StatementLease> statement = db.prepare(run.sql(), run.internal() ? Caller::kInternal : Caller::kClient);
  if (!statement.ok()) return fail_with_data(std::move(statement).error());
  op.statement = std::move(*statement);
  op.reply.set_read_only(true);
  if (!op.statement) return finish();  // nothing but a comment, or a bare BEGIN
  const bool read_only = sqlite3_stmt_readonly(op.statement.get()) != 0;
  op.reply.set_read_only(read_only);
  op.reply.set_parameter_count(sqlite3_bind_parameter_count(op.statement.get()));
  if (run.describe_only()) {
    describe_columns(op.statement.get(), op.reply);
    const Result<void> valid = check_snapshot();
    return valid.ok() ? finish() : fail(valid.error());
  }
  const bool locks = transaction_ && run.takes_lock() && !run.read_only();
  if (read_only && locks) return transaction_->hold ? lock_rows() : with_lock(&ChannelCore::lock_rows);
  if (read_only) return execute_read();
  start_write();
}

void ChannelCore::start_write() {
  Op& op = *op_;
  const proto::Run& run = op.request.run();
  if (run.read_only())
    return fail(Error(Errc::kReadOnlyTransaction, "cannot execute a writing statement in a read-only transaction"));
  if (!transaction_)
    if (Result<void> accepted = op.range->accepts({gateway_, run.request_id()}); !accepted.ok())
      return fail(std::move(accepted).error());
  const bool has_lock = transaction_ && transaction_->hold;
  if (has_lock)
    if (const Result<void> allowed = op.range->admit_write(); !allowed.ok()) return fail(allowed.error());
  has_lock ? execute_write() : with_lock(&ChannelCore::execute_write);
}

/// Samples what the snapshot depends on, and whether this node might still answer after it was taken (A4.6, A5.3): if
/// the lease does not say so, the other in-sync replicas have to before the answer leaves. A transaction's snapshot
/// stays valid: its point in time lies before the check.
Result<void> ChannelCore::check_snapshot() {
  Op& op = *op_;
  if (transaction_ && transaction_->snapshot) {
    op.gate = std::max(op.gate, transaction_->gate);
    op.confirm = op.confirm || !transaction_->confirmed;
    return {};
  }
  const bool taken = sqlite3_txn_state(connection().raw(), "main") != SQLITE_TXN_NONE;
  const Lsn gate = op.range->assigned();
  const Instant now = services_->clock.now();
  if (is_over(*op.range)) return Error(Errc::kNotLeaseholder, "this node does not lead the database any more");
  const bool allowed = op.range->reads_allowed(now);
  op.confirm = op.confirm || !allowed;
  op.gate = std::max(op.gate, gate);
  if (!transaction_ || !taken) return {};
  transaction_->confirmed = allowed;
  transaction_->snapshot = true;
  transaction_->gate = gate;
  transaction_->held.since = now;
  return {};
}

/// SELECT … FOR UPDATE, with our writer lock held. Making SQLite's transaction a writing one tells now, and not at the
/// first write, that its snapshot is outdated; the pragma is the one statement that does so and changes nothing.
void ChannelCore::lock_rows() {
  const int code = transaction_->connection().run_own("PRAGMA main.incremental_vacuum(1)");
  if (code != SQLITE_OK) return fail_with_data(transaction_->connection().error(code));
  execute_read();
}

void ChannelCore::execute_read() {
  Op& op = *op_;
  const proto::Run& run = op.request.run();
  sqlite3_stmt* const statement = op.statement.get();
  if (run.params_size() > 1)
    return fail(Error(Errc::kProtocolViolation, "a query takes one set of parameters; only writes take several"));
  const Result<void> bound = bind(statement, run.params_size() == 0 ? proto::Params() : run.params(0), true);
  if (!bound.ok()) return fail(bound.error());
  services_->counters.reads.fetch_add(1, std::memory_order_relaxed);
  const Instant began = services_->clock.now();
  const int first = sqlite3_step(statement);
  if (first != SQLITE_ROW && first != SQLITE_DONE) return fail_with_data(connection().error(first));
  const Result<void> valid = check_snapshot();
  if (!valid.ok()) return fail(valid.error());
  Batch batch = collect(statement, first, {services_->parameters.batch_bytes, run.max_rows()});
  if (batch.end == BatchEnd::kError) return fail_with_data(connection().error(batch.code));
  op.statement.note_took(services_->clock.now() - began);
  describe_columns(statement, op.reply);
  op.reply.set_rows(std::move(batch.bytes));
  if (batch.end == BatchEnd::kDone) return finish();
  op.reply.set_suspended(batch.end == BatchEnd::kRows);
  Portal portal;
  portal.own = std::move(op.connection);
  portal.statement = std::move(op.statement);
  keep_portal(std::move(portal));
  finish();
}

/// The rest of the result waits in `portal`; its number goes into the reply.
void ChannelCore::keep_portal(Portal portal) {
  Op& op = *op_;
  portal.held = transaction_ ? transaction_->held : Held{.range = op.range, .since = services_->clock.now()};
  portal.gate = op.gate;
  portal.caller = op.request.run().internal() ? Caller::kInternal : Caller::kClient;
  portal.savepoints = transaction_ ? transaction_->savepoints() : 0;
  portal.in_transaction = transaction_ != nullptr;
  op.portal = next_portal_++;
  op.reply.set_portal(op.portal);
  portals_.emplace(op.portal, std::move(portal));
}

void ChannelCore::execute_write() {
  Op& op = *op_;
  services_->counters.writes.fetch_add(1, std::memory_order_relaxed);
  PooledConnection& db = connection();
  track({.range = op.range, .since = services_->clock.now()}, true);
  if (!transaction_) {
    const int code = db.run_own("BEGIN IMMEDIATE");
    if (code != SQLITE_OK) return fail_with_data(db.error(code));
  }
  const Result<void> executed = execute_all();
  if (!executed.ok()) return fail_with_data(executed.error());
  if (op.statement) describe_columns(op.statement.get(), op.reply);
  op.statement.release();
  op.reply.set_changes(op.changes);
  if (transaction_) {
    const Result<void> valid = check_snapshot();
    return valid.ok() ? answer_write() : fail(valid.error());
  }
  const Result<void> committed = commit_now(db, outcome_of_write());
  if (!committed.ok()) return fail_with_data(committed.error());
  if (!op.committed) {  // no page changed: answered like a read
    const Result<void> valid = check_snapshot();
    if (!valid.ok()) return fail(valid.error());
  }
  answer_write();
}

Result<void> ChannelCore::execute_all() {
  const proto::Run& run = op_->request.run();
  if (!op_->script.empty()) return execute_script();
  if (run.params_size() == 0) return execute_once(proto::Params());
  for (const proto::Params& params : run.params()) TRY(execute_once(params));
  return {};
}

Result<void> ChannelCore::execute_once(const proto::Params& params) {
  Op& op = *op_;
  PooledConnection& db = connection();
  sqlite3_stmt* const statement = op.statement.get();
  TRY(bind(statement, params, false));
  const sqlite3_int64 before = sqlite3_total_changes64(db.raw());
  int code = SQLITE_OK;
  while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
    RowWriter row;
    append_row(statement, row);
    op.returned.add(row.take());
    if (op.returned.bytes() > services_->parameters.returning_bytes_max)
      return Error(Errc::kTooLarge, "RETURNING gives more than " +
                                        std::to_string(services_->parameters.returning_bytes_max >> 20) +
                                        " MiB; write fewer rows at once");
  }
  if (code != SQLITE_DONE) return db.error(code);
  // sqlite3_changes keeps the number of the latest INSERT, UPDATE or DELETE: not that of a CREATE TABLE
  if (sqlite3_total_changes64(db.raw()) != before) op.changes += sqlite3_changes64(db.raw());
  sqlite3_reset(statement);
  return {};
}

void ChannelCore::answer_write() {
  Op& op = *op_;
  if (op.returned.rows() == 0) return finish();
  Batch batch = op.returned.take({services_->parameters.batch_bytes, op.request.run().max_rows()});
  op.reply.set_rows(std::move(batch.bytes));
  if (batch.end == BatchEnd::kDone) return finish();
  op.reply.set_suspended(batch.end == BatchEnd::kRows);
  Portal portal;
  portal.stored = std::move(op.returned);
  keep_portal(std::move(portal));
  finish();
}

void ChannelCore::handle_fetch() {
  Op& op = *op_;
  const proto::FetchRows& fetch = op.request.fetch();
  const auto it = portals_.find(fetch.portal());
  if (it == portals_.end())
    return fail(ended_ ? *ended_ : Error(Errc::kUndefinedCursor, "the cursor is not open any more"));
  Portal& portal = it->second;
  if (portal.dead) return fail(Error(*portal.dead));
  if (portal.in_transaction && transaction_ && transaction_->failed)
    return fail(Error(Errc::kInFailedTransaction, "current transaction is aborted"));
  op.range = portal.held.range;
  const BatchLimits limits{services_->parameters.batch_bytes, fetch.max_rows()};
  Batch batch;
  if (portal.stored) {
    batch = portal.stored->take(limits);
  } else {
    PooledConnection& db = portal.own ? *portal.own : transaction_->connection();
    track(portal.held, false);
    db.obey(&stop_);
    db.act_for(portal.caller);
    sqlite3_stmt* const statement = portal.statement.get();
    batch = collect(statement, sqlite3_step(statement), limits);
  }
  op.gate = portal.gate;
  std::optional<Error> error;
  if (batch.end == BatchEnd::kError) {
    PooledConnection& db = portal.own ? *portal.own : transaction_->connection();
    error = db.error(batch.code);
  }
  if (error || batch.end == BatchEnd::kDone) {
    Remains remains;
    remains.portals.push_back(std::move(portal));
    portals_.erase(it);
    settle(remains);
  } else {
    op.reply.set_portal(fetch.portal());
  }
  if (error) return fail_with_data(std::move(*error));
  op.reply.set_rows(std::move(batch.bytes));
  op.reply.set_suspended(batch.end == BatchEnd::kRows);
  op.reply.set_read_only(true);
  finish();
}

void ChannelCore::handle_close_portal() {
  Remains remains;
  if (const auto it = portals_.find(op_->request.close_portal().portal()); it != portals_.end()) {
    remains.portals.push_back(std::move(it->second));
    portals_.erase(it);
  }
  settle(remains);
  finish();
}

}  // namespace outlast::executor
