// Explicit transactions: BEGIN (as part of Run), COMMIT, ROLLBACK, savepoints. All on SQL threads.
#include "executor/channel_core.h"

namespace outlast::executor {

Result<void> ChannelCore::open_transaction() {
  Op& op = *op_;
  op.began = true;
  ASSIGN_OR_RETURN(op.range, lead());
  ASSIGN_OR_RETURN(std::unique_ptr<PooledConnection> fresh, services_->connections.acquire(op.range));
  const bool immediate = op.request.run().immediate();
  if (!immediate) {
    const int code = fresh->run_own("BEGIN");
    if (code != SQLITE_OK) {
      Error error = fresh->error(code);
      services_->connections.give_back(std::move(fresh));
      return error;
    }
  }
  transaction_ = std::make_unique<Transaction>(std::move(fresh));
  transaction_began_ = op_->since;
  transaction_->began_micros = op_->began_micros;
  transaction_->connection().obey(&stop_);
  return {};
}

/// The rest of `BEGIN IMMEDIATE`, once the writer lock is held: the transaction cannot meet an outdated snapshot.
void ChannelCore::begin_immediate() {
  PooledConnection& db = transaction_->connection();
  const int code = db.run_own("BEGIN IMMEDIATE");
  if (code != SQLITE_OK) return fail_with_data(db.error(code));
  const Result<void> valid = check_snapshot();
  if (!valid.ok()) return fail(valid.error());
  run_statement();
}

/// May the next statement of the open transaction run? A snapshot that was found valid stays so after the lease left;
/// a new one needs the lease.
Result<void> ChannelCore::require_transaction() {
  Op& op = *op_;
  op.range = transaction_->range();
  if (transaction_->failed)
    return Error(Errc::kInFailedTransaction,
                 "current transaction is aborted, commands ignored until end of "
                 "transaction block");
  if (op.request.range() != op.range->id().value || op.request.epoch() != op.range->epoch().value)
    return Error(Errc::kStaleEpoch, "the transaction runs on another range or in another epoch");
  if (!op.began && !transaction_->snapshot)
    TRY(op.range->admit());  // a closed gate may mean that another leads already
  // Without a snapshot nothing is held back yet: the age counts from this statement on.
  if (!transaction_->snapshot) transaction_->held.since = services_->clock.now();
  track(transaction_->held, static_cast<bool>(transaction_->hold));
  return {};
}

/// COMMIT. On success op.committed says whether anything was written. An error means that nothing was, except
/// kUnknownOutcome.
Result<void> ChannelCore::commit_now(PooledConnection& connection, storage::RequestOutcome request) {
  Op& op = *op_;
  storage::Connection& db = connection.storage();
  static_cast<void>(db.take_commit_lsn());  // forget that of an earlier commit
  db.set_request(std::move(request));
  const int code = connection.run_own("COMMIT");
  const Lsn lsn = db.take_commit_lsn();
  if (code == SQLITE_OK) {
    op.committed = static_cast<bool>(lsn);
    if (op.committed) op.gate = lsn;
    services_->counters.commits.fetch_add(1, std::memory_order_relaxed);
    return {};
  }
  if (!lsn) return connection.error(code);
  services_->counters.unknown.fetch_add(1, std::memory_order_relaxed);
  return Error(Errc::kUnknownOutcome,
               "the write was handed to replication, but the database then failed; it may or may "
               "not have been applied: look before writing again");
}

void ChannelCore::handle_commit() {
  Op& op = *op_;
  if (!transaction_) {
    const std::optional<Error> why = std::exchange(ended_, std::nullopt);
    return why ? fail(*why) : finish();
  }
  op.range = transaction_->range();
  if (transaction_->failed) {
    end_transaction(true);
    return fail(Error(Errc::kInFailedTransaction, "the transaction had failed and was rolled back"));
  }
  const std::uint64_t id = op.request.commit().request_id();
  Result<void> accepted = op.range->accepts({gateway_, id});
  if (accepted.ok() && op.request.epoch() != op.range->epoch().value)
    accepted = Error(Errc::kStaleEpoch, "the transaction runs in another epoch");
  if (!accepted.ok()) {
    end_transaction(true);
    return fail(Error(Errc::kTransactionLost, "the transaction was rolled back: " + accepted.error().message));
  }
  if (transaction_->snapshot) op.gate = transaction_->gate;
  const std::unique_ptr<Transaction> transaction = [this] {
    Remains remains = take_remains(true);  // a transaction's cursors end with it
    std::unique_ptr<Transaction> mine = std::move(remains.transaction);
    settle(remains);
    return mine;
  }();
  const Result<void> committed = commit_now(transaction->connection(), {gateway_, id, 0, {}, {}});
  transaction->end(services_->connections);
  if (committed.ok()) return finish();
  if (facts(committed.error().code).retry == Retry::kUnseen)
    return fail(Error(Errc::kTransactionLost,
                      "the transaction was rolled back because the database moved to another node; run it again"));
  fail_with_data(committed.error());
}

void ChannelCore::handle_rollback() {
  ended_.reset();
  if (transaction_) services_->counters.rollbacks.fetch_add(1, std::memory_order_relaxed);
  end_transaction(true);
  finish();
}

void ChannelCore::handle_savepoint() {
  Op& op = *op_;
  const proto::Savepoint& savepoint = op.request.savepoint();
  if (!transaction_)
    return fail(ended_ ? *ended_
                       : Error(Errc::kNoActiveTransaction, "savepoints can only be used in transaction blocks"));
  op.range = transaction_->range();
  if (savepoint.action() == proto::Savepoint::ROLLBACK_TO) {
    const Result<std::size_t> left = transaction_->rollback_to(savepoint.name());
    if (!left.ok()) return fail(left.error());
    Remains remains;
    for (auto it = portals_.begin(); it != portals_.end();) {
      const auto next = std::next(it);
      if (it->second.in_transaction && it->second.savepoints >= *left) {
        remains.portals.push_back(std::move(it->second));
        portals_.erase(it);
      }
      it = next;
    }
    settle(remains);
    return finish();
  }
  const Result<void> usable = require_transaction();
  if (!usable.ok()) return fail(usable.error());
  const bool set = savepoint.action() == proto::Savepoint::SET;
  const Result<void> done =
      set ? transaction_->set_savepoint(savepoint.name()) : transaction_->release_savepoint(savepoint.name());
  done.ok() ? finish() : fail(done.error());
}

}  // namespace outlast::executor
