#include "lifecycle/pace.h"

#include <algorithm>

namespace outlast::lifecycle {
namespace {

double seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}
Duration duration(double seconds) {
  constexpr double kLongest = 3600.0 * 24 * 365;
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(std::min(seconds, kLongest)));
}
std::uint64_t left_on(const std::vector<CopyLoad::Target>& targets, NodeId node) {
  const auto it = std::ranges::find(targets, node, &CopyLoad::Target::node);
  return it == targets.end() ? 0 : it->bytes_left;
}

}  // namespace

std::string_view to_string(Bottleneck bottleneck) {
  switch (bottleneck) {
    case Bottleneck::kNone:
      return "nothing";
    case Bottleneck::kLimit:
      return "kv.snapshot_rebalance.max_rate";
    case Bottleneck::kSlowTarget:
      return "slow target";
    case Bottleneck::kOneRange:
      return "one large range";
    case Bottleneck::kCopying:
      return "disks and network";
  }
  return "nothing";
}

void Pace::sample(Instant now, const CopyLoad& load) {
  std::uint64_t done = 0;
  if (!samples_.empty()) {
    done = samples_.back().done;
    if (load.bytes_left < last_.bytes_left) done += last_.bytes_left - load.bytes_left;
  }
  samples_.push_back({now, done, load.targets});
  while (samples_.size() > 2 && samples_[1].at + kWindow <= now) samples_.pop_front();
  // Before the first byte nothing is slow: replicas are made, and what is seen of them is a second old.
  while (samples_.size() > 2 && samples_[1].done == 0 && samples_[1].at + kSeen <= now) samples_.pop_front();
  last_ = load;
  // A short window would take a burst for a speed.
  if (now - samples_.front().at >= kWindow / 4) best_rate_ = std::max(best_rate_, rate());
}

double Pace::rate() const {
  if (samples_.size() < 2) return 0;
  const double took = seconds(samples_.back().at - samples_.front().at);
  return took <= 0 ? 0 : static_cast<double>(samples_.back().done - samples_.front().done) / took;
}

/// Only what one target was seen to take: what it got anew in between hides some of it.
double Pace::rate_of(NodeId target) const {
  std::uint64_t taken = 0;
  for (std::size_t i = 1; i < samples_.size(); ++i) {
    const std::uint64_t before = left_on(samples_[i - 1].targets, target), after = left_on(samples_[i].targets, target);
    if (after < before) taken += before - after;
  }
  if (taken * 100 < left_on(last_.targets, target)) return 0;  // its copies have hardly begun
  const double took = samples_.empty() ? 0 : seconds(samples_.back().at - samples_.front().at);
  return took <= 0 ? 0 : static_cast<double>(taken) / took;
}

Pace::Sharing Pace::sharing() const {
  const auto left = static_cast<double>(last_.bytes_left);
  const auto busiest = std::ranges::max_element(last_.senders, {}, &CopyLoad::Target::bytes_left);
  if (busiest == last_.senders.end()) {
    const double each = left / static_cast<double>(std::max<std::size_t>(1, last_.targets_possible));
    return {.each = each, .most = each};
  }
  const double each = left / static_cast<double>(last_.senders.size());
  // A node with more than its share hands over what has not begun: in the end it has half a replica more than others.
  const double most = each + static_cast<double>(last_.largest_left) / 2;
  return {.each = each,
          .most = std::min(static_cast<double>(busiest->bytes_left), most),
          .known = true,
          .busiest = busiest->node};
}

/// A target that takes much longer than `longest`; that is how long it takes then.
void Pace::find_slow_target(Estimate& out, double& longest) const {
  const auto limit = static_cast<double>(last_.rate_max);
  // When all that may be sent is sent, a target that gets little waits for its senders.
  const bool all_send =
      limit > 0 && !last_.senders.empty() && out.rate >= 0.8 * limit * static_cast<double>(last_.senders.size());
  if (all_send || last_.targets.size() < 2) return;
  for (const CopyLoad::Target& target : last_.targets) {
    const double rate_there = rate_of(target.node);
    const double takes = rate_there > 0 ? static_cast<double>(target.bytes_left) / rate_there : 0;
    if (takes <= 1.5 * longest) continue;
    longest = takes;
    out.bottleneck = Bottleneck::kSlowTarget, out.node = target.node;
  }
}

Estimate Pace::estimate() const {
  Estimate out;
  out.rate = rate();
  if (last_.bytes_left == 0) {
    out.eta = Duration::zero();
    return out;
  }
  const auto left = static_cast<double>(last_.bytes_left), largest = static_cast<double>(last_.largest_left);
  const auto limit = static_cast<double>(last_.rate_max);
  const Sharing senders = sharing();
  if (limit > 0)
    out.at_least = duration(std::max(senders.each, largest) / limit);
  else if (best_rate_ > 0)
    out.at_least = duration(left / best_rate_);
  const bool brief = samples_.back().at - samples_.front().at < kBrief;
  if (out.rate <= 0 || (brief && limit == 0)) return out;
  double longest = brief ? 0 : left / out.rate;
  out.bottleneck = Bottleneck::kCopying;
  if (limit > 0 && out.rate >= 0.8 * limit * static_cast<double>(std::max<std::size_t>(1, last_.targets.size())))
    out.bottleneck = Bottleneck::kLimit;
  if (last_.largest_left * 2 > last_.bytes_left && last_.targets.size() <= 1) out.bottleneck = Bottleneck::kOneRange;
  if (!brief) find_slow_target(out, longest);
  if (limit > 0 && senders.known && std::max(senders.most / limit, seconds(out.at_least)) > longest) {
    longest = senders.most / limit;
    out.bottleneck = Bottleneck::kLimit, out.node = senders.busiest;
  }
  out.eta = std::max(duration(longest), out.at_least);
  return out;
}

}  // namespace outlast::lifecycle
