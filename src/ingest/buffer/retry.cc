#include "ingest/buffer/retry.h"

#include <algorithm>
#include <cmath>

namespace outlast::ingest {
namespace {
constexpr double kJitter = 0.125;
constexpr double kLongest = 1e18;  // nanoseconds: 31 years, what no power of the base may pass
}  // namespace

std::optional<Instant> RetryState::failed(Instant now, Random& random) {
  if (failures_ == 0) since_ = now;
  ++failures_;
  const Instant end = since_ + limits_.timeout;
  const bool too_often = limits_.max_times && failures_ > *limits_.max_times;
  if (!limits_.forever && (now >= end || too_often)) {
    succeeded();
    return std::nullopt;
  }
  next_ = now + next_wait(random);
  // The last try comes at the end, not long after it.
  if (!limits_.forever) next_ = std::min(*next_, end);
  return next_;
}

void RetryState::succeeded() {
  failures_ = 0;
  next_.reset();
}

Duration RetryState::next_wait(Random& random) const {
  const double first = static_cast<double>(limits_.wait.count());
  double wait = std::min(first * std::pow(limits_.base, failures_ - 1), kLongest);
  if (limits_.max_interval) wait = std::min(wait, static_cast<double>(limits_.max_interval->count()));
  if (limits_.randomize) {
    constexpr std::uint64_t kSteps = 1U << 20;
    const double chance = static_cast<double>(random.below(kSteps + 1)) / kSteps;
    wait *= 1 + kJitter * (1 - 2 * chance);
  }
  return Duration(static_cast<Duration::rep>(wait));
}

}  // namespace outlast::ingest
