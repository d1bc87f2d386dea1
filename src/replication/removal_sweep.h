#pragma once
#include <deque>
#include <functional>
#include <set>

#include "base/ids.h"
#include "base/loop.h"
#include "replication/parameters.h"

namespace outlast::replication {

/// Idle ranges led here that keep a dead member in S (protocol A3, lazy removal). Each gets its turn
/// Parameters::removal_idle after it was noted, Parameters::removals_per_second at most: one list and one timer for all
/// ranges of a node, none while the list is empty.
/// Thread-safety: loop only.
class RemovalSweep {
 public:
  RemovalSweep(Loop& loop, const Parameters& parameters, std::function<void(RangeId)> remove)
      : loop_(loop), parameters_(parameters), remove_(std::move(remove)) {}
  ~RemovalSweep() {
    if (timer_ != 0) loop_.cancel(timer_);
  }
  RemovalSweep(const RemovalSweep&) = delete;
  RemovalSweep& operator=(const RemovalSweep&) = delete;

  /// Noting it again before its turn changes nothing. Its turn comes even if it is whole or active by then.
  void note(RangeId range);
  std::size_t waiting() const { return queue_.size(); }

 private:
  struct Noted {
    Instant due;
    RangeId range;
  };
  void arm();
  void tick();

  Loop& loop_;
  const Parameters& parameters_;
  const std::function<void(RangeId)> remove_;
  std::deque<Noted> queue_;  ///< In the order of `due`.
  std::set<RangeId> noted_;
  Instant next_turn_{};  ///< The pace: nobody before it.
  Loop::TimerId timer_{0};
};

}  // namespace outlast::replication
