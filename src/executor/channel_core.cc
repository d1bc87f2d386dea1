#include "executor/channel_core.h"

#include <new>

#include "executor/transaction_time.h"

namespace outlast::executor {
namespace {
Instant after_ms(Instant now, std::uint64_t ms) {
  constexpr std::uint64_t kForever = 1ULL << 40;  // some 35 years: no overflow
  return ms == 0 || ms >= kForever ? Instant::max() : now + std::chrono::milliseconds(ms);
}
void put_error(proto::ExecReply& reply, const Error& error) {
  reply.Clear();
  proto::ExecError* out = reply.mutable_error();
  out->set_code(std::string(facts(error.code).name));
  out->set_message(error.message);
  out->set_detail(error.detail);
  out->set_hint(error.hint);
  out->set_position(error.position);
  reply.set_nothing_applied(error.code != Errc::kUnknownOutcome);
}
Error unknown_outcome(const std::string& why) {
  return Error(Errc::kUnknownOutcome, "the write was handed to replication, but " + why +
                                          "; it may or may not have been applied: look before writing again");
}
}  // namespace

ChannelCore::ChannelCore(std::shared_ptr<Services> services, std::uint64_t gateway, std::uint64_t number)
    : services_(std::move(services)), gateway_(gateway), number_(number) {}

ChannelCore::~ChannelCore() {
  op_.reset();  // a request that never ended: its statement goes before the transaction that it belongs to
  const std::lock_guard lock(services_->mutex);
  services_->channels.erase(number_);
}

void ChannelCore::start(proto::ExecRequest request, Done done) {
  const Instant now = services_->clock.now();
  {
    const std::lock_guard lock(mutex_);
    if (!op_ && !closed_) {
      op_ = std::make_unique<Op>();
      op_->since = now;
      op_->began_micros = services_->clock.wall_micros();
      op_->deadline = after_ms(now, request.timeout_ms());
      op_->lock_deadline = after_ms(now, request.lock_timeout_ms());
      stop_.reset(op_->deadline);
      op_->request = std::move(request);
      op_->done = std::move(done);
    }
  }
  if (done) {  // not taken
    proto::ExecReply reply;
    put_error(reply, Error(Errc::kProtocolViolation, "a channel takes one request at a time"));
    done(std::move(reply));
    return;
  }
  if (read_here()) return;
  long_ = long_ || op_->request.run().fragment();
  Task run = [self = shared_from_this()] { self->guarded(&ChannelCore::handle_request); };
  if (long_)
    services_->post_long(std::move(run));
  else
    services_->sql.post(std::move(run));
}

void ChannelCore::guarded(Step step) {
  const TransactionTime time(transaction_ ? transaction_->began_micros : op_->began_micros);
  try {
    (this->*step)();
  } catch (const std::bad_alloc&) {
    fail(Error(Errc::kOutOfMemory, "no memory for this statement; try again with smaller values or results"));
  }
}

// --- Waiting -----------------------------------------------------------------------------------------------------

/// The number of the wait that begins; nullopt when the request was cancelled before. What has an LSN waits all the
/// same: it is past the point of cancelling.
std::optional<std::uint64_t> ChannelCore::enter_wait(Wait wait, Instant until) {
  const std::lock_guard lock(mutex_);
  if (stop_.why() != StopWhy::kNone && !op_->committed && stop_.why() != StopWhy::kDeadline) return std::nullopt;
  wait_ = wait;
  wait_until_ = until;
  lock_ticket_ = 0;
  return ++wait_number_;
}

void ChannelCore::with_lock(Step next) {
  struct Grant {
    bool at_once{true};  ///< acquire() has not returned yet.
    std::optional<Result<replication::WriterLock::Hold>> got;
  };
  const auto grant = std::make_shared<Grant>();
  const replication::LeasedRangePtr range = op_->range;
  if (const Result<void> allowed = range->admit_write(); !allowed.ok()) return fail(allowed.error());
  const Instant until = std::min(op_->deadline, op_->lock_deadline);
  const std::optional<std::uint64_t> entered = enter_wait(Wait::kLock, until);
  if (!entered) return fail(connection().stopped_error());
  const std::uint64_t number = *entered;
  const std::uint64_t ticket =
      range->writer_lock().acquire(until, false, [self = shared_from_this(), grant, number, next](auto hold) {
        {
          const std::lock_guard lock(self->mutex_);
          if (grant->at_once) {
            grant->got.emplace(std::move(hold));
            return;
          }
          if (self->wait_ != Wait::kLock || self->wait_number_ != number) return;  // given up: the hold goes back
          self->wait_ = Wait::kNone;
        }
        self->services_->sql.post(
            [self, next, got = std::move(hold)]() mutable { self->lock_granted(std::move(got), next); });
      });
  bool given_up = false;
  {
    const std::lock_guard lock(mutex_);
    grant->at_once = false;
    const bool waiting = wait_ == Wait::kLock && wait_number_ == number;
    given_up = wait_number_ != number;
    if (grant->got && waiting)
      wait_ = Wait::kNone;
    else if (waiting)
      lock_ticket_ = ticket;
  }
  if (given_up) {
    range->writer_lock().withdraw(ticket);
    grant->got.reset();
  } else if (grant->got) {
    lock_granted(std::move(*grant->got), next);
  } else {
    services_->counters.lock_waits.fetch_add(1, std::memory_order_relaxed);
  }
}

void ChannelCore::lock_granted(Result<replication::WriterLock::Hold> hold, Step next) {
  if (!hold.ok()) {
    const bool statement_late = hold.error().code == Errc::kLockTimeout && services_->clock.now() >= op_->deadline;
    fail(statement_late ? Error(Errc::kDeadline, "canceling statement due to statement timeout")
                        : std::move(hold).error());
    return;
  }
  (transaction_ ? transaction_->hold : op_->hold) = std::move(*hold);
  if (const Result<void> allowed = op_->range->admit_write(); !allowed.ok()) return fail(allowed.error());
  if (stop_.check(services_->clock.now())) {
    fail(connection().stopped_error());
    return;
  }
  guarded(next);
}

/// The request is complete but for what its answer depends on. SQL threads.
void ChannelCore::finish() {
  release_connection();
  if (!op_->confirm) return await_gate();
  services_->counters.confirmed_reads.fetch_add(1, std::memory_order_relaxed);
  const std::optional<std::uint64_t> number = enter_wait(Wait::kConfirm, op_->deadline);
  if (!number) return gate_failed(Error(Errc::kCancelled, "canceling statement due to user request"));
  const replication::LeasedRangePtr range = op_->range;
  range->confirm_reads([self = shared_from_this(), number](Result<void> outcome) {
    self->snapshot_confirmed(*number, std::move(outcome));
  });
}

/// This node still led the range after the snapshot was taken, or that is not known. Any thread.
void ChannelCore::snapshot_confirmed(std::uint64_t number, Result<void> outcome) {
  {
    const std::lock_guard lock(mutex_);
    if (wait_ != Wait::kConfirm || wait_number_ != number) return;
    wait_ = Wait::kNone;
  }
  if (outcome.ok()) {
    if (transaction_) transaction_->confirmed = true;
    await_gate();
    return;
  }
  services_->sql.post(
      [self = shared_from_this(), why = std::move(outcome).error()]() mutable { self->gate_failed(std::move(why)); });
}

/// Any thread.
void ChannelCore::await_gate() {
  const replication::LeasedRangePtr range = op_->range;
  const Lsn gate = op_->gate;
  if (range == nullptr || gate <= range->durable()) {
    deliver();
    return;
  }
  services_->counters.gate_waits.fetch_add(1, std::memory_order_relaxed);
  const std::optional<std::uint64_t> number = enter_wait(Wait::kDurable, op_->deadline);
  if (!number) {
    services_->sql.post([self = shared_from_this()] {
      self->gate_failed(Error(Errc::kCancelled, "canceling statement due to user request"));
    });
    return;
  }
  const auto who = op_->committed ? replication::Waits::kWrite : replication::Waits::kRead;
  range->wait_durable(gate, who, [self = shared_from_this(), number](Result<void> outcome) {
    self->gate_done(*number, std::move(outcome));
  });
}

void ChannelCore::gate_done(std::uint64_t number, Result<void> outcome) {
  {
    const std::lock_guard lock(mutex_);
    if (wait_ != Wait::kDurable || wait_number_ != number) return;
    wait_ = Wait::kNone;
  }
  if (outcome.ok()) {
    deliver();
    return;
  }
  const Errc code = outcome.error().code;
  Error why = code == Errc::kMoving || code == Errc::kTransactionLost
                  ? std::move(outcome).error()
                  : Error(Errc::kNotLeaseholder, "this node stopped leading the database before the answer was safe");
  services_->sql.post(
      [self = shared_from_this(), why = std::move(why)]() mutable { self->gate_failed(std::move(why)); });
}

/// The answer may not leave: what it depends on is not known to be durable.
void ChannelCore::gate_failed(Error why) {
  if (op_->portal != 0) {
    Remains remains;
    if (const auto it = portals_.find(op_->portal); it != portals_.end()) {
      remains.portals.push_back(std::move(it->second));
      portals_.erase(it);
    }
    settle(remains);
  }
  const bool cut = why.code == Errc::kTransactionLost;  // its entry is in no log any more
  if (op_->committed && !cut) {
    services_->counters.unknown.fetch_add(1, std::memory_order_relaxed);
    const bool lost = facts(why.code).retry == Retry::kUnseen;
    why = unknown_outcome(lost ? "this node stopped leading the database before all replicas had it"
                               : "the statement was ended before all replicas had it");
  } else if (transaction_) {
    fail_transaction(why);
  }
  put_error(op_->reply, why);
  op_->gate = Lsn();
  deliver();
}

/// Ends a wait on behalf of an interrupt or the clock. Unlocks.
void ChannelCore::stop_waiting(std::unique_lock<std::mutex>& lock, Error why) {
  const Wait wait = std::exchange(wait_, Wait::kNone);
  ++wait_number_;
  const std::uint64_t ticket = std::exchange(lock_ticket_, 0);
  const replication::LeasedRangePtr range = op_->range;
  lock.unlock();
  if (wait == Wait::kLock && ticket != 0) range->writer_lock().withdraw(ticket);
  services_->sql.post([self = shared_from_this(), wait, error = std::move(why)]() mutable {
    if (wait == Wait::kLock)
      self->fail(std::move(error));
    else
      self->gate_failed(std::move(error));
  });
}

void ChannelCore::interrupt() {
  std::unique_lock lock(mutex_);
  if (!op_) return;
  stop_.ask_stop(StopWhy::kCancelled);
  if (wait_ != Wait::kNone) stop_waiting(lock, Error(Errc::kCancelled, "canceling statement due to user request"));
}

void ChannelCore::deliver() {
  Remains remains;
  std::unique_ptr<Op> op;
  {
    const std::lock_guard lock(mutex_);
    op = std::move(op_);
    tracked_ = {};
    if (closed_) remains = take_remains(false);
    const std::uint64_t idle_ms = op->request.idle_timeout_ms();
    idle_deadline_ = transaction_ && transaction_->hold ? after_ms(services_->clock.now(), idle_ms) : Instant::max();
    op->reply.set_in_transaction(transaction_ != nullptr);
    op->reply.set_lsn(op->gate.value);
  }
  if (op->reply.has_error()) services_->counters.errors.fetch_add(1, std::memory_order_relaxed);
  dispose(std::move(remains), false);
  op->done(std::move(op->reply));
}

// --- Ending ------------------------------------------------------------------------------------------------------

void ChannelCore::close() {
  Remains remains;
  {
    std::unique_lock lock(mutex_);
    closed_ = true;
    if (op_) {
      stop_.ask_stop(StopWhy::kClosed);
      if (wait_ == Wait::kLock) stop_waiting(lock, Error(Errc::kCancelled, "the session is gone"));
      return;
    }
    remains = take_remains(false);
  }
  if (remains.transaction) services_->counters.orphans.fetch_add(1, std::memory_order_relaxed);
  dispose(std::move(remains), false);
}

/// Takes what is open out of the channel; the caller holds `mutex_` or runs the request.
ChannelCore::Remains ChannelCore::take_remains(bool only_transaction) {
  Remains remains;
  for (auto it = portals_.begin(); it != portals_.end();) {
    if (only_transaction && !it->second.in_transaction) {
      ++it;
      continue;
    }
    remains.portals.push_back(std::move(it->second));
    it = portals_.erase(it);
  }
  remains.transaction = std::move(transaction_);
  transaction_began_ = Instant::max();
  return remains;
}

void ChannelCore::end_transaction(bool on_sql_thread) {
  dispose(take_remains(true), on_sql_thread);
}

void ChannelCore::dispose(Remains remains, bool on_sql_thread) {
  if (remains.empty()) return;
  if (on_sql_thread) {
    settle(remains);
    return;
  }
  services_->sql.post([self = shared_from_this(), left = std::move(remains)]() mutable { self->settle(left); });
}

void ChannelCore::settle(Remains& remains) {
  for (Portal& portal : remains.portals) {
    portal.statement.release();
    services_->connections.give_back(std::move(portal.own));
  }
  remains.portals.clear();
  if (remains.transaction == nullptr) return;
  remains.transaction->end(services_->connections);
  remains.transaction.reset();
}

void ChannelCore::release_connection() {
  Op& op = *op_;
  op.statement.release();
  if (op.connection != nullptr) {
    if (sqlite3_get_autocommit(op.connection->raw()) == 0) op.connection->run_own("ROLLBACK");
    services_->connections.give_back(std::move(op.connection));
  }
  op.hold.release();
}

void ChannelCore::fail(Error error) {
  op_->statement.release();
  op_->gate = Lsn();
  op_->confirm = false;
  if (transaction_) fail_transaction(error);
  put_error(op_->reply, error);
  finish();
}

void ChannelCore::fail_with_data(Error error) {
  const bool ours = error.code == Errc::kCancelled || error.code == Errc::kDeadline ||
                    error.code == Errc::kUnknownOutcome || error.code == Errc::kRangeUnavailable ||
                    error.code == Errc::kDiskFull || facts(error.code).retry == Retry::kUnseen;
  if (ours) return fail(std::move(error));
  if (transaction_ || op_->connection) {
    Result<void> valid = check_snapshot();
    if (!valid.ok()) return fail(std::move(valid).error());
  }
  const Lsn gate = op_->gate;
  op_->statement.release();
  if (transaction_) fail_transaction(error);
  put_error(op_->reply, error);
  op_->gate = services_->parameters.planted_ungated_errors ? Lsn() : gate;
  finish();
}

/// An error fails the transaction as in PostgreSQL. One that says "ask elsewhere" ends it: unseen by the client when
/// this request opened it, else as a lost one.
void ChannelCore::fail_transaction(Error& error) {
  if (facts(error.code).retry != Retry::kUnseen) {
    transaction_->failed = true;
    return;
  }
  end_transaction(true);
  if (op_->began) return;
  error = Error(Errc::kTransactionLost,
                "the transaction was rolled back because the database moved to another node; "
                "run it again");
  ended_ = error;
}

}  // namespace outlast::executor
