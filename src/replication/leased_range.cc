#include "replication/served_range.h"

namespace outlast::replication {

using storage::LogEntry;
using storage::LogEntryPtr;
using storage::LogPosition;

ServedRange::ServedRange(RangeId range, Epoch epoch, LogPosition tail, storage::LogWriter& logs,
                         std::shared_ptr<storage::Replica> replica, std::size_t pending_bytes_max, Hooks hooks)
    : range_(range),
      epoch_(epoch),
      logs_(logs),
      replica_(std::move(replica)),
      pending_bytes_max_(pending_bytes_max),
      hooks_(std::move(hooks)),
      lock_(hooks_.wake_lock),
      tail_(tail),
      durable_(tail.lsn) {}

ServedRange::~ServedRange() {
  database_.reset();  // SQLite closes before the replica's files may be written by a follower
  hooks_.closed();
}

Result<void> ServedRange::admit() const {
  const std::lock_guard lock(mutex_);
  if (ended_) return Error(Errc::kNotLeaseholder, ended_->message);
  if (gate_ == Gate::kMoving) return Error(Errc::kMoving, "the lease is moving to another node; try again at once");
  if (gate_ == Gate::kStalled)
    return Error(Errc::kRangeUnavailable, "not enough in-sync replicas answer; try again when they are back");
  return {};
}

Lsn ServedRange::assigned() const {
  const std::lock_guard lock(mutex_);
  return tail_.lsn;
}

Lsn ServedRange::durable() const {
  const std::lock_guard lock(mutex_);
  return durable_;
}

void ServedRange::wait_durable(Lsn lsn, Callback<void> done) {
  std::optional<Error> failed;
  {
    const std::lock_guard lock(mutex_);
    if (lsn > durable_ && !ended_ && gate_ != Gate::kStalled) {
      waiters_.emplace(lsn, std::move(done));
      return;
    }
    if (lsn > durable_) failed = Error(Errc::kRangeUnavailable, "the write did not reach all in-sync replicas");
  }
  if (failed) return done(std::move(*failed));
  done({});
}

Result<Lsn> ServedRange::commit(storage::CommitPages pages) {
  std::string payload = hooks_.encode(pages);
  bool wake = false;
  Lsn lsn;
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return Error(Errc::kNotLeaseholder, ended_->message);
    if (gate_ != Gate::kOpen) return Error(Errc::kRangeUnavailable, "the range takes no writes at present; try again");
    if (!pending_.empty() && pending_bytes_ + payload.size() > pending_bytes_max_)
      return Error(Errc::kRangeUnavailable, "too many writes wait for the in-sync replicas; try again");
    auto entry = std::make_shared<LogEntry>();
    entry->prev = tail_;
    entry->at = {tail_.lsn.next(), epoch_, 0};
    entry->at.checksum = storage::entry_checksum(entry->at.lsn, epoch_, tail_, payload);
    entry->payload = std::move(payload);
    tail_ = entry->at;
    lsn = tail_.lsn;
    pending_.emplace_back(lsn, entry->payload.size());
    pending_bytes_ += entry->payload.size();
    wake = outbox_.empty();
    outbox_.push_back(entry);
    // Under the lock, so that the log gets the entries in the order of their LSNs. The replica stays alive with the
    // callback: a leadership may end while its last entries are being written.
    logs_.submit(*replica_, {std::move(entry)},
                 [synced = hooks_.synced, keep = replica_](Result<Lsn> result) { synced(std::move(result)); });
  }
  if (wake) hooks_.committed();
  return lsn;
}

Result<void> ServedRange::wait_all_durable() {
  std::unique_lock lock(mutex_);
  const Lsn wanted = tail_.lsn;
  durable_moved_.wait_for(lock, hooks_.checkpoint_patience, [&] { return durable_ >= wanted || ended_; });
  if (durable_ >= wanted) return {};
  return Error(Errc::kRangeUnavailable, "some commits are not on all in-sync replicas yet");
}

std::vector<LogEntryPtr> ServedRange::take_outbox() {
  const std::lock_guard lock(mutex_);
  return std::exchange(outbox_, {});
}

void ServedRange::advance_durable(Lsn lsn) {
  std::vector<Callback<void>> ready;
  {
    const std::lock_guard lock(mutex_);
    if (lsn <= durable_ || ended_) return;
    durable_ = lsn;
    for (; !pending_.empty() && pending_.front().first <= lsn; pending_.pop_front())
      pending_bytes_ -= pending_.front().second;
    const auto last = waiters_.upper_bound(lsn);
    for (auto it = waiters_.begin(); it != last; it = waiters_.erase(it)) ready.push_back(std::move(it->second));
    durable_moved_.notify_all();
  }
  for (auto& done : ready) done({});
}

void ServedRange::set_gate(Gate gate) {
  const std::lock_guard lock(mutex_);
  gate_ = gate;
}

void ServedRange::fail_waiters(const Error& why) {
  std::multimap<Lsn, Callback<void>> failed;
  {
    const std::lock_guard lock(mutex_);
    failed.swap(waiters_);
  }
  for (auto& [lsn, done] : failed) done(why);
}

LogPosition ServedRange::end(const Error& why) {
  LogPosition tail;
  {
    const std::lock_guard lock(mutex_);
    if (!ended_) ended_ = why;
    tail = tail_;
    durable_moved_.notify_all();
  }
  fail_waiters({Errc::kRangeUnavailable, why.message});
  lock_.close({Errc::kNotLeaseholder, why.message});
  if (database_) database_->fence();
  return tail;
}

}  // namespace outlast::replication
