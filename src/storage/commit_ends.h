#pragma once
#include <cstdint>
#include <deque>
#include <mutex>
#include <utility>

#include "base/ids.h"
#include "storage/wal_collect.h"

namespace outlast::storage {

/// Where in the WAL each commit of its present generation ends, so that the database can be read as it was at one of
/// them. Thread-safety: any thread.
class CommitEnds {
 public:
  static constexpr std::int64_t kStart = kWalHeaderBytes;

  void note(Lsn lsn, std::int64_t end) {
    const std::lock_guard lock(mutex_);
    ends_.emplace_back(lsn, end);
  }
  /// The WAL begins anew: whatever it held is in the database file.
  void restart() {
    const std::lock_guard lock(mutex_);
    ends_.clear();
  }
  /// Nobody will ask below `lsn` any more.
  void forget_below(Lsn lsn) {
    const std::lock_guard lock(mutex_);
    while (ends_.size() > 1 && ends_[1].first <= lsn) ends_.pop_front();
  }
  /// Behind the latest commit at or below `lsn`; kStart when all of those are in the database file.
  std::int64_t end_at(Lsn lsn) const {
    const std::lock_guard lock(mutex_);
    std::int64_t end = kStart;
    for (const auto& [at, offset] : ends_) {
      if (at > lsn) break;
      end = offset;
    }
    return end;
  }

 private:
  mutable std::mutex mutex_;
  std::deque<std::pair<Lsn, std::int64_t>> ends_;
};

}  // namespace outlast::storage
