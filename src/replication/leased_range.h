#pragma once
#include <memory>

#include "base/ids.h"
#include "base/loop.h"
#include "base/result.h"
#include "replication/request_id.h"
#include "storage/database.h"

namespace outlast::replication {

/// The one writer of a SQLite range, handed over in order of asking (protocol A11): SQLite's own busy handler starves.
/// Thread-safety: any thread. Callbacks run on the thread that released the lock, or inline.
class WriterLock {
 public:
  /// Gives the lock back when destroyed.
  class Hold {
   public:
    Hold() = default;
    explicit Hold(std::shared_ptr<void> inner) : inner_(std::move(inner)) {}
    explicit operator bool() const { return inner_ != nullptr; }
    void release() { inner_.reset(); }

   private:
    std::shared_ptr<void> inner_;
  };
  virtual ~WriterLock() = default;
  /// First come, first served. `first` goes before all waiters (a lease transfer). Fails with kLockTimeout at
  /// `deadline` (checked by expire), kCancelled when withdrawn, kNotLeaseholder when the leadership ends.
  /// Returns a ticket for withdraw().
  virtual std::uint64_t acquire(Instant deadline, bool first, Callback<Hold> done) = 0;
  virtual void withdraw(std::uint64_t ticket) = 0;
  virtual std::size_t waiters() const = 0;
};

/// Who waits for a position to become durable.
enum class Waits : std::uint8_t {
  kRead,   ///< May be told to ask again (kMoving), when another way to the data answers sooner.
  kWrite,  ///< Has its entry in the log: waits until its fate is known.
};

/// A range that this node leads in one epoch: what the executor needs of it. Ends with the leadership: then admit()
/// fails, waiters fail and the database is fenced.
/// Thread-safety: any thread.
class LeasedRange {
 public:
  virtual ~LeasedRange() = default;
  virtual RangeId id() const = 0;
  virtual Epoch epoch() const = 0;
  virtual storage::Database& database() = 0;
  virtual WriterLock& writer_lock() = 0;
  /// May new work begin? kMoving while the gate is closed for a transfer, kNotLeaseholder when the leadership is over.
  virtual Result<void> admit() const = 0;
  /// May a statement begin that writes? Besides admit()'s answers kRangeUnavailable while in-sync replicas do not
  /// answer, and kDiskFull while a disk that commits need has no room. To be asked once more when the writer lock is
  /// held.
  virtual Result<void> admit_write() const = 0;
  /// The leadership is over and the database has to be closed at once, to be opened again: nothing may be finished.
  virtual bool closes_at_once() const = 0;
  /// Highest LSN given to a commit: a read is gated by its value sampled after the snapshot was opened (A5.3).
  virtual Lsn assigned() const = 0;
  virtual Lsn durable() const = 0;
  /// Calls back once `lsn` is on the disk of every in-sync replica; inline when it already is. Fails with
  /// kRangeUnavailable when the leadership ended first: the entry's fate is then unknown; with kTransactionLost when
  /// the entry was cut: it was certainly not applied; a read also with kMoving.
  virtual void wait_durable(Lsn lsn, Waits who, Callback<void> done) = 0;
  /// A4.6(a): the lease deadline has not passed, and the cluster trusts it. To be asked after the snapshot was taken.
  virtual bool reads_allowed(Instant now) const = 0;
  /// A4.6(b), where (a) does not allow it: calls back once all other members of S said, after this call, that this is
  /// still their epoch. To be called after the snapshot was taken. Fails with kNotLeaseholder when the leadership
  /// ended, kNoLeaseholder when nobody else can tell, kRangeUnavailable when they do not answer. All reads that wait
  /// share one round trip.
  virtual void confirm_reads(Callback<void> done) = 0;
  /// May this write begin? kStaleEpoch when its gateway was told that it is not applied. Its commit is checked again.
  virtual Result<void> accepts(const RequestId& id) const = 0;
  /// RESOLVE (A5.6), also while the gate is closed. kApplied is answered once it is durable; an error says nothing:
  /// the next leaseholder knows. `done` on any thread, inline too; whoever asks keeps this range alive until then.
  virtual void resolve(const RequestQuestion& question, Callback<RequestAnswer> done) = 0;
};
using LeasedRangePtr = std::shared_ptr<LeasedRange>;

/// Finds the ranges that this node leads. Thread-safety: any thread.
class LeaseDirectory {
 public:
  virtual ~LeaseDirectory() = default;
  /// kNotLeaseholder when another node leads it or `epoch` is not the present one.
  virtual Result<LeasedRangePtr> find(RangeId range, Epoch epoch) const = 0;
};

}  // namespace outlast::replication
