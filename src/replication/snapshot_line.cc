#include "replication/snapshot_line.h"

#include <algorithm>

namespace outlast::replication {

SnapshotLine::Ticket SnapshotLine::join(NodeId to, std::uint64_t bytes, Task begin) {
  waiting_.emplace(++last_, Turn{to, bytes, std::move(begin)});
  look_soon();
  return last_;
}

void SnapshotLine::all_sent(Ticket ticket) {
  const auto it = running_.find(ticket);
  if (it == running_.end() || std::exchange(it->second.bytes, 0) == 0) return;
  look_soon();
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
  while (!waiting_.empty() && has_room()) {
    const auto under_way = [&](const auto& each) {
      return std::ranges::count(running_, each.second.to, [](const auto& one) { return one.second.to; });
    };
    const auto next = std::ranges::min_element(waiting_, {}, under_way);
    Turn turn = std::move(next->second);
    running_.emplace(next->first, Sending{turn.to, turn.bytes});
    waiting_.erase(next);
    turn.begin();
  }
}

bool SnapshotLine::has_room() const {
  const auto at_once = static_cast<std::size_t>(at_once_);
  const auto by_rate = rate_ == 0 ? at_once : static_cast<std::size_t>(std::max<std::uint64_t>(2, rate_ / kRateOfOne));
  if (running_.size() >= std::min(at_once, by_rate)) return false;
  std::uint64_t sending = 0, bytes = 0;
  for (const auto& [ticket, one] : running_) sending += one.bytes > 0 ? 1 : 0, bytes += one.bytes;
  return sending < 2 || bytes < kBytesAtOnce;
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
