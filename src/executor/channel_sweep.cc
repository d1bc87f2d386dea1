// What the sweep ends: waits beyond their deadline, idle lock holders, old snapshots, whatever is open on a range that
// this node does not lead any more.
#include "executor/channel_core.h"

namespace outlast::executor {

void ChannelCore::track(const Held& held, bool write) {
  const std::lock_guard lock(mutex_);
  tracked_ = held;
  tracked_write_ = write;
}

std::optional<Error> ChannelCore::over_time(Held& held, bool write, Instant now) const {
  const Parameters& limits = services_->parameters;
  if (is_over(*held.range)) {
    held.over_since = std::min(held.over_since, now);
    const bool late = !services_->reads_finish && now - held.over_since >= limits.finish_reads;
    if (write || held.range->closes_at_once() || late)
      return Error(Errc::kTransactionLost,
                   "the transaction was rolled back because the database moved to another node; run it again");
    return std::nullopt;
  }
  const Duration age = now - held.since;
  const bool wal_too_long = age >= limits.snapshot_grace && held.range->database().wal_bytes() > limits.wal_bytes_max;
  if (age >= limits.snapshot_max || wal_too_long)
    return Error(Errc::kSerialization, "the snapshot was held too long; run the transaction again in smaller steps");
  return std::nullopt;
}

void ChannelCore::tick(Instant now) {
  std::unique_lock lock(mutex_);
  if (op_)
    tick_running(now, lock);
  else
    tick_idle(now);
}

void ChannelCore::tick_running(Instant now, std::unique_lock<std::mutex>& lock) {
  if (wait_ != Wait::kNone) {
    if (now < wait_until_) return;
    if (now >= op_->deadline)
      stop_waiting(lock, Error(Errc::kDeadline, "canceling statement due to statement timeout"));
    else
      stop_waiting(lock, Error(Errc::kLockTimeout, "canceling statement due to lock timeout"));
    return;
  }
  if (tracked_.range == nullptr) return;
  if (const std::optional<Error> why = over_time(tracked_, tracked_write_, now))
    stop_.ask_stop(why->code == Errc::kSerialization ? StopWhy::kSnapshot : StopWhy::kRangeOver);
}

void ChannelCore::tick_idle(Instant now) {
  std::optional<Error> why;
  if (transaction_) {
    Held& held = transaction_->held;
    const bool reads = transaction_->snapshot && !transaction_->hold;
    if (!transaction_->snapshot) held.since = now;  // nothing is held back yet
    if (now >= idle_deadline_)
      why = Error(Errc::kIdleInTransaction, "terminating transaction due to idle-in-transaction timeout");
    else
      why = over_time(held, !reads, now);
  }
  if (why) {
    Counters& counters = services_->counters;
    (why->code == Errc::kIdleInTransaction ? counters.ended_idle : counters.ended_snapshots)
        .fetch_add(1, std::memory_order_relaxed);
    ended_ = why;
    end_transaction(false);
  }
  Remains remains;
  for (auto& [id, portal] : portals_) {
    if (portal.own == nullptr) continue;
    const std::optional<Error> late = over_time(portal.held, false, now);
    if (!late) continue;
    services_->counters.ended_snapshots.fetch_add(1, std::memory_order_relaxed);
    Portal dead;
    dead.dead = Error(Errc::kSerialization,
                      "the rest of the result is gone: its snapshot was held too long or the "
                      "database moved to another node; run the statement again");
    remains.portals.push_back(std::exchange(portal, std::move(dead)));
  }
  dispose(std::move(remains), false);
}

void ChannelCore::count(ForeignWork& work, Instant before) {
  const std::lock_guard lock(mutex_);
  if (transaction_began_.load() < before) {
    ++work.transactions;
  } else if (op_) {
    if (op_->since < before) ++work.statements;
  } else {
    for (const auto& [id, portal] : portals_)
      if (portal.own != nullptr && portal.held.since < before) ++work.statements;
  }
}

void ChannelCore::add_busy(std::set<RangeId>& ranges, Instant before) {
  const std::lock_guard lock(mutex_);
  if (op_) {
    if (op_->since < before) ranges.insert(RangeId(op_->request.range()));
    return;
  }
  for (const auto& [id, portal] : portals_)
    if (portal.own != nullptr && portal.held.since < before) ranges.insert(portal.held.range->id());
}

void ChannelCore::end_work(Instant before) {
  const std::lock_guard lock(mutex_);
  if (op_) {
    if (std::min(op_->since, transaction_began_.load()) < before && wait_ == Wait::kNone)
      stop_.ask_stop(StopWhy::kRangeOver);
    return;
  }
  if (transaction_ && transaction_began_.load() < before) {
    ended_ = Error(Errc::kTransactionLost,
                   "the transaction was rolled back because the node that ran it leaves service; run it again");
    services_->counters.rollbacks.fetch_add(1, std::memory_order_relaxed);
    end_transaction(false);
  }
  Remains remains;
  for (auto& [id, portal] : portals_) {
    if (portal.own == nullptr || portal.held.since >= before) continue;
    Portal dead;
    dead.dead = Error(Errc::kSerialization,
                      "the rest of the result is gone: the node that ran the statement leaves service; run it again");
    remains.portals.push_back(std::exchange(portal, std::move(dead)));
  }
  dispose(std::move(remains), false);
}

void ChannelCore::count(ExecutorStats& stats) {
  const std::lock_guard lock(mutex_);
  if (op_) return;  // counted when it is at rest again
  stats.portals += portals_.size();
  if (!transaction_) return;
  ++stats.transactions;
  if (transaction_->hold) ++stats.write_transactions;
}

}  // namespace outlast::executor
