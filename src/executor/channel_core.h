#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "executor/script.h"
#include "executor/services.h"
#include "executor/transaction.h"
#include "proto/exec.pb.h"

namespace outlast::executor {

/// The body of a LocalChannel: one request at a time, as a chain of steps. Steps that touch SQLite run on SQL threads;
/// between them the request waits as a callback of the writer lock or of the durable LSN.
///
/// Who may touch what: while a request runs (`op_` is set) the transaction and the portals belong to its present step;
/// else to whoever holds `mutex_`. A wait ends once: the lock, the durable LSN, an interrupt or the sweep claims it
/// under `mutex_`, the others find it gone. Thread-safety: public members from any thread, start() one at a time.
class ChannelCore : public std::enable_shared_from_this<ChannelCore> {
 public:
  using Done = std::move_only_function<void(proto::ExecReply)>;
  ChannelCore(std::shared_ptr<Services> services, std::uint64_t gateway, std::uint64_t number);
  ~ChannelCore();

  /// `done` is called once, on any thread, and must not block.
  void start(proto::ExecRequest request, Done done);
  void interrupt();
  /// The session is gone: rolls back what is open.
  void close();
  /// See Executor::sweep.
  void tick(Instant now);
  void count(ExecutorStats& stats);
  /// See Executor::foreign_work and end_foreign_work.
  void count(ForeignWork& work, Instant before);
  void end_work(Instant before);
  void add_busy(std::set<RangeId>& ranges, Instant before);
  std::uint64_t gateway() const { return gateway_; }

 private:
  struct Op {
    proto::ExecRequest request;
    Done done;
    Instant since, deadline, lock_deadline;  ///< `since`: when it came.
    std::int64_t began_micros{0};            ///< Wall clock.
    replication::LeasedRangePtr range;
    proto::ExecReply reply;
    std::unique_ptr<PooledConnection> connection;  ///< Autocommit's; outlives `statement`.
    StatementLease statement;
    std::vector<ScriptStep> script;  ///< Instead of one statement.
    replication::WriterLock::Hold hold;
    StoredRows returned;
    std::int64_t changes{0};
    Lsn gate;
    std::uint64_t portal{0};  ///< Opened by this request.
    bool began{false};        ///< This request opened the transaction.
    bool committed{false};    ///< Has an LSN: can only end as done or unknown.
    bool confirm{false};      ///< Saw a snapshot that the lease does not cover: others must confirm it (A4.6 b).
  };
  enum class Wait : std::uint8_t { kNone, kLock, kConfirm, kDurable };
  using Step = void (ChannelCore::*)();
  /// What has to be closed on a SQL thread.
  struct Remains {
    std::vector<Portal> portals;
    std::unique_ptr<Transaction> transaction;
    bool empty() const { return portals.empty() && transaction == nullptr; }
  };

  // Short reads (channel_here.cc); the caller's thread.
  bool read_here();
  bool answer_quickly();
  // Requests (channel_run.cc, channel_script.cc, channel_transaction.cc, channel_resolve.cc); SQL threads.
  void guarded(Step step);
  void handle_request();
  void handle_run();
  void run_statement();
  void lock_rows();
  void execute_read();
  void execute_write();
  Result<void> execute_all();
  Result<void> execute_once(const proto::Params& params);
  bool take_script();
  Result<void> execute_script();
  void start_write();
  void answer_write();
  void handle_fetch();
  void handle_close_portal();
  void begin_immediate();
  void handle_commit();
  void handle_rollback();
  void handle_savepoint();
  Result<void> open_transaction();
  Result<void> require_transaction();
  Result<replication::LeasedRangePtr> lead() const;
  Result<void> check_snapshot();
  Result<void> commit_now(PooledConnection& connection, storage::RequestOutcome request);
  storage::RequestOutcome outcome_of_write() const;
  void handle_resolve();
  void resolved(std::uint64_t number, Result<replication::RequestAnswer> told);
  void keep_portal(Portal portal);
  void fail(Error error);            ///< The executor's own refusals: they tell nothing about the data.
  void fail_with_data(Error error);  ///< SQLite's: gated like a row (A5.3).
  void fail_transaction(Error& error);
  PooledConnection& connection() { return transaction_ ? transaction_->connection() : *op_->connection; }

  // Waiting and ending (channel_core.cc); any thread.
  std::optional<std::uint64_t> enter_wait(Wait wait, Instant until);
  void with_lock(Step next);
  void lock_granted(Result<replication::WriterLock::Hold> hold, Step next);
  void finish();
  void snapshot_confirmed(std::uint64_t number, Result<void> outcome);
  void await_gate();
  void gate_done(std::uint64_t number, Result<void> outcome);
  void gate_failed(Error why);
  void deliver();
  void stop_waiting(std::unique_lock<std::mutex>& lock, Error why);
  void release_connection();
  void track(const Held& held, bool write);
  void tick_running(Instant now, std::unique_lock<std::mutex>& lock);
  void tick_idle(Instant now);
  std::optional<Error> over_time(Held& held, bool write, Instant now) const;
  Remains take_remains(bool only_transaction);
  void end_transaction(bool on_sql_thread);
  void dispose(Remains remains, bool on_sql_thread);
  void settle(Remains& remains);

  const std::shared_ptr<Services> services_;
  const std::uint64_t gateway_, number_;
  StopSignal stop_;

  std::mutex mutex_;
  std::unique_ptr<Op> op_;
  std::unique_ptr<Transaction> transaction_;
  std::atomic<Instant> transaction_began_{Instant::max()};  ///< max: none is open. Readable while a request runs.
  std::map<std::uint64_t, Portal> portals_;
  std::optional<Error>
      ended_;  ///< Why the transaction is gone; every statement says so until ROLLBACK, COMMIT or BEGIN.
  std::uint64_t next_portal_{1};
  Instant idle_deadline_{Instant::max()};
  bool closed_{false};
  bool long_{false};  ///< Of a query over several ranges: its channels carry nothing else.

  Wait wait_{Wait::kNone};
  std::uint64_t wait_number_{0}, lock_ticket_{0};
  Held tracked_;  ///< What the running request holds.
  bool tracked_write_{false};
  Instant wait_until_{Instant::max()};
};

}  // namespace outlast::executor
