#include "gateway/session_impl.h"

#include "gateway/retry.h"

namespace outlast::gateway {
namespace {
Error lost() {
  return Error(Errc::kTransactionLost,
               "the transaction was rolled back because the database moved to another node; run it again");
}
Error aborted() {
  return Error(Errc::kInFailedTransaction,
               "current transaction is aborted, commands ignored until end of transaction block");
}
void put_value(proto::Value& out, executor::Value value) {
  struct Visitor {
    proto::Value& to;
    void operator()(executor::Null) const { to.set_null(true); }
    void operator()(std::int64_t x) const { to.set_integer(x); }
    void operator()(double x) const { to.set_real(x); }
    void operator()(std::string& x) const { to.set_text(std::move(x)); }
    void operator()(executor::Blob& x) const { to.set_blob(std::move(x.bytes)); }
  };
  std::visit(Visitor{out}, value);
}
}  // namespace

SessionImpl::SessionImpl(std::shared_ptr<Gateway> gateway)
    : gateway_(std::move(gateway)),
      random_(gateway_->ports.incarnation.value ^ (gateway_->counters.sessions.fetch_add(1) << 20)) {}

boost::asio::awaitable<Result<void>> SessionImpl::use_database(std::string name) {
  if (status_ != TxnStatus::kIdle)
    co_return Error(Errc::kActiveTransaction, "cannot change the database inside a transaction; end it first");
  if (!gateway_->ports.find_database(name))
    co_return Error(Errc::kUndefinedDatabase, "database \"" + name + "\" does not exist");
  database_ = std::move(name);
  portals_.clear();
  co_return Result<void>();
}

void SessionImpl::resume(std::string database, Seen seen) {
  database_ = std::move(database);
  seen_ = seen;
}

Result<void> SessionImpl::usable() const {
  if (status_ == TxnStatus::kFailed) return aborted();
  return {};
}

/// A transaction is SQLite's, in one file.
Result<void> SessionImpl::stays_in_range(std::optional<RangeId> range) const {
  if (!transaction_) return {};
  if (!range)
    if (const auto row = gateway_->ports.find_database(database_)) range = row->range;
  if (!range || *range == transaction_->range) return {};
  return Error(Errc::kActiveTransaction,
               "a transaction stays in one partition, or outside all partitioned tables: its first statement ran "
               "elsewhere; end it and run this statement in another one");
}

proto::ExecRequest SessionImpl::statement_request(std::string sql, bool internal) const {
  proto::ExecRequest request;
  proto::Run* run = request.mutable_run();
  run->set_sql(std::move(sql));
  run->set_internal(internal);
  if (status_ == TxnStatus::kActive) {
    run->set_read_only(options_.read_only);
    run->set_begin(!transaction_);
    run->set_immediate(!transaction_ && options_.immediate);
  }
  return request;
}

boost::asio::awaitable<Result<Rows>> SessionImpl::run(Statement statement) {
  start_operation();
  if (const Result<void> ready = usable(); !ready.ok()) co_return ready.error();
  if (const Result<void> stays = stays_in_range(statement.range); !stays.ok()) {
    fail_transaction();
    co_return stays.error();
  }
  gateway_->counters.statements.fetch_add(1, std::memory_order_relaxed);
  const bool is_read = is_query(statement.sql, statement.tag);
  proto::ExecRequest request = statement_request(std::move(statement.sql), statement.internal);
  request.mutable_run()->set_max_rows(statement.max_rows);
  request.mutable_run()->set_takes_lock(statement.takes_lock);
  request.mutable_run()->set_fragment(statement.fragment);
  for (std::vector<executor::Value>& row : statement.params) {
    proto::Params* params = request.mutable_run()->add_params();
    for (executor::Value& value : row) put_value(*params->add_values(), std::move(value));
  }
  const bool in_transaction = transaction_.has_value();
  Reply reply = in_transaction ? co_await call_in_transaction(std::move(request))
                               : co_await route_and_call(std::move(request), is_read, statement.range);
  if (!reply.ok()) {
    fail_transaction();
    co_return std::move(reply).error();
  }
  const Leaseholder where = transaction_ ? *transaction_ : *last_;
  co_return to_rows(std::move(*reply), where);
}

boost::asio::awaitable<Result<Rows>> SessionImpl::describe(std::string sql, bool internal) {
  start_operation();
  if (const Result<void> ready = usable(); !ready.ok()) co_return ready.error();
  proto::ExecRequest request = statement_request(std::move(sql), internal);
  request.mutable_run()->set_describe_only(true);
  request.mutable_run()->set_begin(false);  // a description does not start a transaction
  request.mutable_run()->set_immediate(false);
  const bool in_transaction = transaction_.has_value();
  Reply reply = in_transaction ? co_await call_in_transaction(std::move(request))
                               : co_await route_and_call(std::move(request), true, std::nullopt);
  if (!reply.ok()) {
    fail_transaction();
    co_return std::move(reply).error();
  }
  const Leaseholder where = transaction_ ? *transaction_ : *last_;
  co_return to_rows(std::move(*reply), where);
}

Rows SessionImpl::to_rows(proto::ExecReply reply, const Leaseholder& where) {
  Rows rows;
  rows.columns.reserve(static_cast<std::size_t>(reply.columns_size()));
  for (proto::Column& column : *reply.mutable_columns())
    rows.columns.push_back({std::move(*column.mutable_name()), std::move(*column.mutable_decl_type()),
                            std::move(*column.mutable_table()), std::move(*column.mutable_origin())});
  rows.bytes = std::move(*reply.mutable_rows());
  rows.suspended = reply.suspended();
  rows.changes = reply.changes();
  rows.parameter_count = reply.parameter_count();
  rows.read_only = reply.read_only();
  if (reply.portal() == 0) return rows;
  rows.portal = next_portal_++;
  portals_.emplace(rows.portal, Portal{where, reply.portal(), transaction_.has_value()});
  return rows;
}

boost::asio::awaitable<Result<Rows>> SessionImpl::fetch(std::uint64_t number, std::uint64_t max_rows) {
  start_operation();
  const auto found = portals_.find(number);
  if (found == portals_.end()) co_return Error(Errc::kUndefinedCursor, "the cursor is not open any more");
  const Portal portal = found->second;
  if (portal.in_transaction && status_ == TxnStatus::kFailed) co_return aborted();
  proto::ExecRequest request;
  request.mutable_fetch()->set_portal(portal.id);
  request.mutable_fetch()->set_max_rows(max_rows);
  proto::ExecReply reply;
  if (portal.in_transaction && transaction_) {
    Reply answer = co_await call_in_transaction(std::move(request));
    if (!answer.ok()) {
      portals_.erase(number);
      fail_transaction();
      co_return std::move(answer).error();
    }
    reply = std::move(*answer);
  } else {
    reply = co_await call(portal.where, std::move(request), deadline());
    if (reply.has_error()) {
      portals_.erase(number);
      Error error = to_error(reply);
      if (!portal.where.channel->alive() || facts(error.code).retry == Retry::kUnseen)
        error = Error(Errc::kSerialization,
                      "the rest of the result is gone because the database moved to another node; "
                      "run the statement again");
      co_return error;
    }
  }
  if (reply.portal() == 0) portals_.erase(number);
  const bool more = reply.portal() != 0;
  reply.set_portal(0);
  Rows rows = to_rows(std::move(reply), portal.where);
  rows.portal = more ? number : 0;
  co_return rows;
}

boost::asio::awaitable<void> SessionImpl::close_portal(std::uint64_t number) {
  const auto found = portals_.find(number);
  if (found == portals_.end()) co_return;
  const Portal portal = std::move(found->second);
  portals_.erase(found);
  if (!portal.where.channel->alive()) co_return;
  proto::ExecRequest request;
  request.mutable_close_portal()->set_portal(portal.id);
  co_await call(portal.where, std::move(request), Instant::max());
}

void SessionImpl::start_operation() {
  const std::lock_guard lock(mutex_);
  interrupted_ = false;
}

bool SessionImpl::interrupted() {
  const std::lock_guard lock(mutex_);
  return interrupted_;
}

void SessionImpl::interrupt() {
  ChannelPtr running;
  std::shared_ptr<RouteSleeper> sleeping;
  {
    const std::lock_guard lock(mutex_);
    interrupted_ = true;
    running = running_;
    sleeping = sleeping_;
  }
  if (running) running->interrupt();
  if (sleeping) sleeping->wake();
}

Instant SessionImpl::deadline() const {
  return limits_.statement_timeout > Duration::zero() ? gateway_->clock.now() + limits_.statement_timeout
                                                      : Instant::max();
}

// --- Transactions ------------------------------------------------------------------------------------------------

Result<void> SessionImpl::begin(TxnOptions options) {
  if (status_ != TxnStatus::kIdle) return Error(Errc::kActiveTransaction, "there is already a transaction in progress");
  options_ = options;
  status_ = TxnStatus::kActive;
  return {};
}

void SessionImpl::fail_transaction() {
  if (status_ == TxnStatus::kActive) status_ = TxnStatus::kFailed;
}

/// The leaseholder is gone and the transaction with it; the client still has to end it.
void SessionImpl::lose_transaction() {
  gateway_->counters.transactions_lost.fetch_add(1, std::memory_order_relaxed);
  std::erase_if(portals_, [](const auto& entry) { return entry.second.in_transaction; });
  transaction_.reset();
  last_.reset();
  fail_transaction();
}

void SessionImpl::end_transaction() {
  std::erase_if(portals_, [](const auto& entry) { return entry.second.in_transaction; });
  if (transaction_ && transaction_->channel->alive()) last_ = std::move(transaction_);
  transaction_.reset();
  status_ = TxnStatus::kIdle;
}

boost::asio::awaitable<Result<bool>> SessionImpl::commit() {
  start_operation();
  if (status_ == TxnStatus::kFailed) {
    co_await rollback();
    co_return false;
  }
  if (status_ == TxnStatus::kIdle || !transaction_) {
    end_transaction();
    co_return true;
  }
  const Leaseholder where = *transaction_;
  proto::ExecRequest request;
  const InDoubt write = about_to_write(where, gateway_->next_request.fetch_add(1), deadline());
  request.mutable_commit()->set_request_id(write.request);
  const proto::ExecReply reply = co_await call(where, std::move(request), write.until);
  end_transaction();
  if (!reply.has_error()) co_return true;
  Error error = to_error(reply);
  const Verdict verdict = judge({error.code, reply.nothing_applied(), where.channel->alive(), false});
  if (!where.channel->alive() || reply.in_transaction()) last_.reset();  // dropping the channel rolls back
  if (verdict == Verdict::kRepeat) {
    gateway_->counters.transactions_lost.fetch_add(1, std::memory_order_relaxed);
    co_return lost();
  }
  if (verdict == Verdict::kUnknown) co_return co_await settle_commit(write);
  co_return error;
}

boost::asio::awaitable<void> SessionImpl::rollback() {
  if (transaction_ && transaction_->channel->alive()) {
    proto::ExecRequest request;
    request.mutable_rollback();
    const Leaseholder where = *transaction_;
    const proto::ExecReply reply = co_await call(where, std::move(request), Instant::max());
    if (reply.has_error()) transaction_.reset();  // dropping the channel rolls back
  }
  end_transaction();
}

/// The savepoint needs a transaction to live in.
boost::asio::awaitable<Result<void>> SessionImpl::ensure_started() {
  if (transaction_) co_return Result<void>();
  Reply reply = co_await route_and_call(statement_request("", false), true, std::nullopt);
  if (!reply.ok()) co_return std::move(reply).error();
  co_return Result<void>();
}

boost::asio::awaitable<Result<void>> SessionImpl::savepoint(SavepointAction action, std::string name) {
  start_operation();
  if (status_ == TxnStatus::kIdle)
    co_return Error(Errc::kNoActiveTransaction, "savepoints can only be used in transaction blocks");
  const bool revive = action == SavepointAction::kRollbackTo;
  if (status_ == TxnStatus::kFailed) {
    if (!revive) co_return aborted();
    if (!transaction_) co_return lost();
  } else {
    Result<void> started = co_await ensure_started();
    if (!started.ok()) {
      fail_transaction();
      co_return started;
    }
  }
  proto::ExecRequest request;
  proto::Savepoint* savepoint = request.mutable_savepoint();
  savepoint->set_name(std::move(name));
  savepoint->set_action(revive                                ? proto::Savepoint::ROLLBACK_TO
                        : action == SavepointAction::kRelease ? proto::Savepoint::RELEASE
                                                              : proto::Savepoint::SET);
  Reply reply = co_await call_in_transaction(std::move(request));
  if (!reply.ok()) {
    fail_transaction();
    co_return std::move(reply).error();
  }
  status_ = TxnStatus::kActive;
  co_return Result<void>();
}

}  // namespace outlast::gateway
