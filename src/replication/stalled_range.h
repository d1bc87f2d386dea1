#pragma once
#include <atomic>

#include "replication/served_range.h"

namespace outlast::replication {

/// A led range while its commits cannot become durable (protocol A5.4): the database as it is at the durable LSN, for
/// reads, which therefore wait for nobody. Writes are refused. The range itself keeps its log and goes on later.
/// Thread-safety: any thread. Keeps the range, and with it the database, open.
class StalledRange final : public LeasedRange {
 public:
  StalledRange(std::shared_ptr<ServedRange> of, std::shared_ptr<storage::Database> view, Lsn upto)
      : of_(std::move(of)), upto_(upto), view_(std::move(view)) {
    lock_.close(stalled_error());
  }

  RangeId id() const override { return of_->id(); }
  Epoch epoch() const override { return of_->epoch(); }
  storage::Database& database() override { return *view_; }
  WriterLock& writer_lock() override { return lock_; }
  Result<void> admit() const override {
    if (retired_) return Error(Errc::kNotLeaseholder, "the database can be read in another way now; ask again");
    return {};
  }
  Result<void> admit_write() const override {
    TRY(admit());
    return stalled_error();
  }
  bool closes_at_once() const override { return of_->closes_at_once(); }
  Lsn assigned() const override { return upto_; }
  Lsn durable() const override { return upto_; }
  void wait_durable(Lsn, Waits, Callback<void> done) override { done({}); }
  bool reads_allowed(Instant now) const override { return of_->reads_allowed(now); }
  void confirm_reads(Callback<void> done) override { of_->confirm_reads(std::move(done)); }
  Result<void> accepts(const RequestId& id) const override { return of_->accepts(id); }
  void resolve(const RequestQuestion& question, Callback<RequestAnswer> done) override {
    of_->resolve(question, std::move(done));
  }

  /// No new work from now on; what runs may finish on its snapshot.
  void retire() { retired_ = true; }

 private:
  const std::shared_ptr<ServedRange> of_;  // outlives the view
  const Lsn upto_;
  const std::shared_ptr<storage::Database> view_;
  FifoWriterLock lock_{[](Instant) {}};
  std::atomic<bool> retired_{false};
};

}  // namespace outlast::replication
