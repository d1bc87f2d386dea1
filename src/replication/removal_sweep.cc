#include "replication/removal_sweep.h"

#include <algorithm>

namespace outlast::replication {
namespace {
constexpr int kTurnsPerSecond = 20;
}  // namespace

void RemovalSweep::note(RangeId range) {
  if (!noted_.insert(range).second) return;
  queue_.push_back({loop_.now() + parameters_.removal_idle, range});
  arm();
}

void RemovalSweep::arm() {
  if (timer_ != 0 || queue_.empty()) return;
  const Instant at = std::max(queue_.front().due, next_turn_);
  timer_ = loop_.after(std::max(Duration::zero(), at - loop_.now()), [this] {
    timer_ = 0;
    tick();
  });
}

void RemovalSweep::tick() {
  const Instant now = loop_.now();
  next_turn_ = now + Duration(std::chrono::seconds(1)) / kTurnsPerSecond;
  const int batch = std::max(1, parameters_.removals_per_second / kTurnsPerSecond);
  for (int i = 0; i < batch && !queue_.empty() && queue_.front().due <= now; ++i) {
    const RangeId range = queue_.front().range;
    queue_.pop_front();
    noted_.erase(range);  // before its turn: it may have to be noted again
    remove_(range);
  }
  arm();
}

}  // namespace outlast::replication
