#include "replication/snapshot_line.h"

#include <algorithm>

namespace outlast::replication {

SnapshotLine::Ticket SnapshotLine::join(NodeId to, Task begin) {
  waiting_.emplace(++last_, Turn{to, std::move(begin)});
  look_soon();
  return last_;
}

void SnapshotLine::leave(Ticket ticket) {
  waiting_.erase(ticket);
  if (running_.erase(ticket) > 0) look_soon();
}

/// In a turn of its own: who leaves may be in the middle of ending many.
void SnapshotLine::look_soon() {
  if (std::exchange(looking_, true)) return;
  loop_.post([weak = weak_from_this()] {
    if (const auto me = weak.lock()) me->look();
  });
}

void SnapshotLine::look() {
  looking_ = false;
  while (!waiting_.empty() && running_.size() < most()) {
    const auto under_way = [&](const auto& each) {
      return std::ranges::count(running_, each.second.to, [](const auto& one) { return one.second; });
    };
    const auto next = std::ranges::min_element(waiting_, {}, under_way);
    Turn turn = std::move(next->second);
    running_.emplace(next->first, turn.to);
    waiting_.erase(next);
    turn.begin();
  }
}

std::size_t SnapshotLine::most() const {
  const auto at_once = static_cast<std::size_t>(at_once_);
  return rate_ == 0 ? at_once : std::min<std::size_t>(at_once, std::max<std::uint64_t>(2, rate_ / kRateOfOne));
}

void SnapshotLine::set_rate(std::uint64_t bytes_a_second) {
  rate_ = bytes_a_second;
  due_ = loop_.now();
  look_soon();
}

Instant SnapshotLine::due(std::uint64_t bytes) {
  const Instant at = std::max(due_, loop_.now());
  if (rate_ == 0) return at;
  const std::chrono::duration<double> takes(static_cast<double>(bytes) / static_cast<double>(rate_));
  due_ = at + std::chrono::duration_cast<Duration>(takes);
  return at;
}

}  // namespace outlast::replication
