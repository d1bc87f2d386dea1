#pragma once
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "replication/leased_range.h"
#include "replication/parameters.h"
#include "replication/request_window.h"
#include "replication/writer_lock.h"
#include "storage/log_writer.h"

namespace outlast::replication {

/// One leadership as SQL threads see it: commits go in on their threads, get their LSN and are queued for the local log
/// at once; the loop ships them and tells what became durable.
/// Thread-safety: any thread, unless a member says "loop". Lifetime: shared with the executor; `closed` runs (any
/// thread) when the last owner has let go and the database is closed.
class ServedRange final : public LeasedRange, public storage::CommitSink {
 public:
  struct Hooks {
    std::function<void()> committed;          ///< take_outbox() has something; any thread.
    std::function<void()> reads_waiting;      ///< take_reads() has something; any thread.
    std::function<void(Result<Lsn>)> synced;  ///< The local log reached this LSN or failed; any thread.
    std::function<void(Instant)> wake_lock;   ///< Call expire_lock() then; any thread.
    std::function<void()> closed;             ///< Any thread.
    std::function<Instant()> lease_deadline;  ///< Fast reads are allowed before it; any thread.
    std::function<bool()> confirm_all_reads;  ///< Whatever the deadline says (sql.reads); any thread.
    EncodePages encode;
    std::shared_ptr<RequestWindow> requests;
    std::function<void(Callback<void>)> reread;  ///< Fills `requests` from the log; any thread.
    std::function<Instant()> now;                ///< Any thread.
    Duration checkpoint_patience = std::chrono::seconds(3);
  };
  enum class Gate : std::uint8_t {
    kOpen,
    kMoving,   ///< Nothing begins: the lease is about to move, or the range falls back.
    kEnding,   ///< No statement or transaction begins; what has begun goes on, writes too (a handover, A8.3).
    kStalled,  ///< No writes: in-sync replicas do not answer.
  };
  struct Waiter {
    Waits who;
    Callback<void> done;
  };
  using Waiters = std::multimap<Lsn, Waiter>;

  ServedRange(RangeId range, Epoch epoch, storage::LogPosition tail, storage::LogWriter& logs,
              std::shared_ptr<storage::Replica> replica, std::size_t pending_bytes_max, Hooks hooks);
  ~ServedRange() override;

  RangeId id() const override { return range_; }
  Epoch epoch() const override { return epoch_; }
  storage::Database& database() override { return *database_; }
  WriterLock& writer_lock() override { return lock_; }
  Result<void> admit() const override;
  Result<void> admit_write() const override;
  bool closes_at_once() const override;
  Lsn assigned() const override;
  Lsn durable() const override;
  void wait_durable(Lsn lsn, Waits who, Callback<void> done) override;
  bool reads_allowed(Instant now) const override {
    return now < hooks_.lease_deadline() && !hooks_.confirm_all_reads();
  }
  void confirm_reads(Callback<void> done) override;
  Result<void> accepts(const RequestId& id) const override { return hooks_.requests->accepts(id); }
  void resolve(const RequestQuestion& question, Callback<RequestAnswer> done) override;

  Result<Lsn> commit(storage::CommitPages pages) override;
  void commit_dropped(Lsn lsn) override;
  Result<void> wait_all_durable() override;

  // For the leader, on the loop.
  void set_database(std::shared_ptr<storage::Database> database) { database_ = std::move(database); }
  std::vector<storage::LogEntryPtr> take_outbox();
  std::vector<Callback<void>> take_reads();
  void advance_durable(Lsn lsn);
  void set_gate(Gate gate);
  /// Reads have another way to their data: who waits here, or begins to, is told to ask again.
  void divert_reads(bool elsewhere);
  /// Why no statement may begin to write, though the gate is open; none to lift it.
  void refuse_writes(std::optional<Error> why);
  /// Who waits with an entry in the log; readers are told to ask again.
  Waiters take_writers();
  void expire_lock(Instant now) { lock_.expire(now); }
  /// Requests that were let in so far.
  std::uint64_t admitted() const;
  std::uint64_t wal_bytes() const { return database_ ? database_->wal_bytes() : 0; }
  /// Ends the leadership: nothing is admitted or committed any more, all waiters fail. Returns the log's last position.
  storage::LogPosition end(const Error& why, bool at_once);

 private:
  void answer(RequestAnswer found, Callback<RequestAnswer> done);

  const RangeId range_;
  const Epoch epoch_;
  storage::LogWriter& logs_;
  const std::shared_ptr<storage::Replica> replica_;
  const std::size_t pending_bytes_max_;
  const Hooks hooks_;
  FifoWriterLock lock_;
  std::shared_ptr<storage::Database> database_;  ///< Set before the range is published.

  mutable std::mutex mutex_;
  std::condition_variable durable_moved_;
  storage::LogPosition tail_;
  Lsn durable_;
  Gate gate_{Gate::kOpen};
  bool diverted_{false}, at_once_{false};
  bool dropped_{false};  ///< The database no longer shows what the log holds: nothing begins here any more.
  mutable std::uint64_t admitted_{0};
  std::optional<Error> ended_, refusal_;
  std::vector<storage::LogEntryPtr> outbox_;
  std::deque<std::pair<Lsn, std::size_t>> pending_;  ///< Not yet durable, with their sizes.
  std::size_t pending_bytes_{0};
  Waiters waiters_;
  std::vector<Callback<void>> reads_;  ///< Wait for the next round of confirmations.
};

/// Why a stalled range takes no write.
Error stalled_error();
/// Tells every reader among them to ask again, and drops it.
void send_readers_away(ServedRange::Waiters& waiters);

}  // namespace outlast::replication
