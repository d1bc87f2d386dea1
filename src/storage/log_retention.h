#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include "base/ids.h"
#include "base/loop.h"
#include "base/result.h"

namespace outlast::storage {

class RangeLog;

/// How much range log a store keeps that its own database files no longer need (protocol A1, `log.retain`): a replica
/// that comes back gets what it missed from the log instead of a snapshot. A closed segment goes, the longest freeable
/// first and whatever its range, once it is older than `time` and more than `bytes` of them are kept; and in any case
/// once more than kMostTimes × bytes are kept, so that a burst of writes cannot fill the disk.
/// Thread-safety: any thread; removals run one after another, so that a crash leaves no gap in a log.
class LogRetention {
 public:
  static constexpr std::uint64_t kMostTimes = 4;
  struct Limits {
    std::uint64_t bytes{std::uint64_t{256} << 20};
    Duration time{std::chrono::minutes(15)};
  };
  /// Both are asked at each decision: limits may change, time is told.
  LogRetention(std::function<Limits()> limits, std::function<Instant()> now)
      : limits_(std::move(limits)), now_(std::move(now)) {}

  /// The segments of `log` up to `mark` are not needed here any more. Removes what may go, of any log; an error is one
  /// of this log.
  Result<void> offer(const std::shared_ptr<RangeLog>& log, Lsn mark);
  std::uint64_t kept_bytes() const;

 private:
  struct Freeable {
    std::weak_ptr<RangeLog> log;
    std::uint64_t bytes{0};
    Instant since{};
  };
  bool must_go(const Freeable& oldest, Instant now) const;
  const std::function<Limits()> limits_;
  const std::function<Instant()> now_;
  mutable std::mutex mutex_;
  std::deque<Freeable> kept_;  ///< In order of `since`.
  std::uint64_t bytes_{0};     ///< Of kept_.
};

}  // namespace outlast::storage
