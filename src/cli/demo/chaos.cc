#include "cli/demo/chaos.h"

namespace outlast::cli {

ChaosPlan::ChaosPlan(std::uint64_t seed, int nodes, Duration interval, Duration end)
    : random_(seed), nodes_(nodes), interval_(interval), end_(end), due_(interval) {}

std::optional<ChaosStep> ChaosPlan::next(Duration now, bool healed) {
  if (now < due_ || now + interval_ / 2 > end_) return std::nullopt;
  if (!healed && now < due_ + 2 * interval_) return std::nullopt;
  due_ = now + interval_;
  const ChaosStep step{whole_node_, static_cast<int>(random_.below(static_cast<std::uint64_t>(nodes_)))};
  whole_node_ = !whole_node_;
  return step;
}

}  // namespace outlast::cli
