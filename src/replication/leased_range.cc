#include "replication/served_range.h"

namespace outlast::replication {

using storage::LogEntry;
using storage::LogEntryPtr;
using storage::LogPosition;

Error stalled_error() {
  return {Errc::kRangeUnavailable,
          "the write was refused and nothing was applied, because not enough in-sync replicas of the database answer; "
          "reads go on, and writes will when the replicas are back"};
}

void send_readers_away(ServedRange::Waiters& waiters) {
  std::vector<Callback<void>> away;
  for (auto it = waiters.begin(); it != waiters.end();)
    if (it->second.who == Waits::kRead) {
      away.push_back(std::move(it->second.done));
      it = waiters.erase(it);
    } else {
      ++it;
    }
  for (auto& done : away) done(Error(Errc::kMoving, "the data can be read in another way now; ask again"));
}

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
  if (gate_ == Gate::kMoving || gate_ == Gate::kEnding || diverted_ || dropped_)
    return Error(Errc::kMoving, "the lease is moving to another process; try again at once");
  ++admitted_;
  return {};
}

std::uint64_t ServedRange::admitted() const {
  const std::lock_guard lock(mutex_);
  return admitted_;
}

Result<void> ServedRange::admit_write() const {
  {
    const std::lock_guard lock(mutex_);
    if (!ended_ && gate_ == Gate::kStalled) return stalled_error();
    if (!ended_ && gate_ != Gate::kMoving && refusal_) return *refusal_;
    if (!ended_ && gate_ == Gate::kEnding && !dropped_) return {};
  }
  return admit();
}

bool ServedRange::closes_at_once() const {
  const std::lock_guard lock(mutex_);
  return at_once_;
}

Lsn ServedRange::assigned() const {
  const std::lock_guard lock(mutex_);
  return tail_.lsn;
}

Lsn ServedRange::durable() const {
  const std::lock_guard lock(mutex_);
  return durable_;
}

void ServedRange::wait_durable(Lsn lsn, Waits who, Callback<void> done) {
  std::optional<Error> failed;
  {
    const std::lock_guard lock(mutex_);
    const bool away = diverted_ && who == Waits::kRead;
    if (lsn > durable_ && !ended_ && !away) {
      waiters_.emplace(lsn, Waiter{who, std::move(done)});
      return;
    }
    if (lsn > durable_)
      failed = ended_ ? Error(Errc::kRangeUnavailable, "the write did not reach all in-sync replicas")
                      : Error(Errc::kMoving, "the data can be read in another way now; ask again");
  }
  if (failed) return done(std::move(*failed));
  done({});
}

void ServedRange::confirm_reads(Callback<void> done) {
  std::optional<Error> over;
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (ended_) {
      over = Error(Errc::kNotLeaseholder, ended_->message);
    } else {
      wake = reads_.empty();
      reads_.push_back(std::move(done));
    }
  }
  if (over) return done(std::move(*over));
  if (wake) hooks_.reads_waiting();
}

std::vector<Callback<void>> ServedRange::take_reads() {
  const std::lock_guard lock(mutex_);
  return std::exchange(reads_, {});
}

Result<Lsn> ServedRange::commit(storage::CommitPages pages) {
  std::string payload = hooks_.encode(pages);
  bool wake = false;
  Lsn lsn;
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return Error(Errc::kNotLeaseholder, ended_->message);
    if (gate_ == Gate::kStalled) return stalled_error();
    if (gate_ == Gate::kMoving || dropped_)
      return Error(Errc::kMoving, "the lease is moving to another node; try again at once");
    if (!pending_.empty() && pending_bytes_ + payload.size() > pending_bytes_max_)
      return Error(Errc::kRangeUnavailable, "too many writes wait for the in-sync replicas; try again");
    TRY(hooks_.requests->assign({tail_.lsn.next(), epoch_, 0}, std::move(pages.request), hooks_.now()));
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

/// The range falls back as if its log had not taken the entry, which it may well keep: the next epoch begins with what
/// the log holds, and the writer learns by its request id what became of it.
void ServedRange::commit_dropped(Lsn lsn) {
  {
    const std::lock_guard lock(mutex_);
    dropped_ = true;
    durable_moved_.notify_all();
  }
  hooks_.synced(Error(Errc::kLogMismatch, "the database dropped the commit of LSN " + lsn.to_string() +
                                              ", which the log holds; it is opened again from the log"));
}

Result<void> ServedRange::wait_all_durable() {
  std::unique_lock lock(mutex_);
  const Lsn wanted = tail_.lsn;
  durable_moved_.wait_for(lock, hooks_.checkpoint_patience,
                          [&] { return durable_ >= wanted || ended_ || gate_ == Gate::kStalled; });
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
    for (auto it = waiters_.begin(); it != last; it = waiters_.erase(it)) ready.push_back(std::move(it->second.done));
    durable_moved_.notify_all();
  }
  for (auto& done : ready) done({});
}

void ServedRange::set_gate(Gate gate) {
  const std::lock_guard lock(mutex_);
  gate_ = gate;
  durable_moved_.notify_all();  // a checkpoint may wait for what will not come
}

void ServedRange::divert_reads(bool elsewhere) {
  Waiters waiting;
  {
    const std::lock_guard lock(mutex_);
    diverted_ = elsewhere;
    if (!elsewhere) return;
    for (auto it = waiters_.begin(); it != waiters_.end();)
      if (it->second.who == Waits::kRead)
        waiting.insert(waiters_.extract(it++));
      else
        ++it;
  }
  send_readers_away(waiting);
}

void ServedRange::refuse_writes(std::optional<Error> why) {
  const std::lock_guard lock(mutex_);
  refusal_ = std::move(why);
}

ServedRange::Waiters ServedRange::take_writers() {
  Waiters all;
  {
    const std::lock_guard lock(mutex_);
    all.swap(waiters_);
  }
  send_readers_away(all);
  return all;
}

LogPosition ServedRange::end(const Error& why, bool at_once) {
  LogPosition tail;
  Waiters failed;
  {
    const std::lock_guard lock(mutex_);
    if (!ended_) ended_ = why;
    at_once_ = at_once;
    tail = tail_;
    failed.swap(waiters_);
    durable_moved_.notify_all();
  }
  for (auto& [lsn, waiter] : failed) waiter.done(Error(Errc::kRangeUnavailable, why.message));
  for (auto& done : take_reads()) done(Error(Errc::kNotLeaseholder, why.message));
  lock_.close({Errc::kNotLeaseholder, why.message});
  if (database_) database_->fence();
  return tail;
}

}  // namespace outlast::replication
