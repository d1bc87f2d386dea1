#include "storage/log_retention.h"

#include "storage/range_log.h"

namespace outlast::storage {

bool LogRetention::must_go(const Freeable& oldest, Instant now) const {
  if (oldest.log.expired()) return true;  // the replica is gone, and its files with it
  const Limits limits = limits_();
  if (bytes_ > kMostTimes * limits.bytes) return true;
  return bytes_ > limits.bytes && now - oldest.since >= limits.time;
}

Result<void> LogRetention::offer(const std::shared_ptr<RangeLog>& log, Lsn mark) {
  const std::lock_guard lock(mutex_);
  const Instant now = now_();
  for (const std::uint64_t bytes : log->take_freeable(mark)) {
    kept_.push_back({log, bytes, now});
    bytes_ += bytes;
  }
  Result<void> own;
  while (!kept_.empty() && must_go(kept_.front(), now)) {
    const Freeable oldest = std::move(kept_.front());
    kept_.pop_front();
    bytes_ -= oldest.bytes;
    const auto owner = oldest.log.lock();
    if (!owner) continue;
    // A file of another log that stays is found again when that log is opened.
    if (auto removed = owner->drop_first(); !removed.ok() && owner == log) own = std::move(removed);
  }
  return own;
}

std::uint64_t LogRetention::kept_bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace outlast::storage
