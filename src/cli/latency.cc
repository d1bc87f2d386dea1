#include "cli/latency.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace outlast::cli {
namespace {
// Below 64 us every microsecond has a bucket; above, each power of two has 32.
constexpr std::uint64_t kExact = 64;
constexpr int kExactBits = 6, kSubBits = 5;
}  // namespace

std::size_t LatencyHistogram::bucket_of(std::uint64_t micros) {
  if (micros < kExact) return micros;
  const int exponent = std::bit_width(micros) - 1;
  const std::uint64_t sub = (micros >> (exponent - kSubBits)) & ((1U << kSubBits) - 1);
  const std::size_t bucket = kExact + (static_cast<std::size_t>(exponent - kExactBits) << kSubBits) + sub;
  return std::min(bucket, kBuckets - 1);
}

double LatencyHistogram::middle_of(std::size_t bucket) {
  if (bucket < kExact) return static_cast<double>(bucket);
  const std::size_t above = bucket - kExact;
  const double width = std::ldexp(1.0, static_cast<int>(above >> kSubBits) + kExactBits - kSubBits);
  const double sub = static_cast<double>(above & ((1U << kSubBits) - 1));
  return (static_cast<double>(1U << kSubBits) + sub + 0.5) * width;
}

void LatencyHistogram::add(std::chrono::microseconds latency) {
  ++counts_[bucket_of(static_cast<std::uint64_t>(std::max<std::int64_t>(latency.count(), 0)))];
  ++count_;
}

void LatencyHistogram::merge(const LatencyHistogram& other) {
  for (std::size_t i = 0; i < kBuckets; ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
}

double LatencyHistogram::quantile_ms(double fraction) const {
  if (count_ == 0) return 0;
  const auto wanted = static_cast<std::uint64_t>(std::ceil(fraction * static_cast<double>(count_)));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < kBuckets; ++i)
    if ((seen += counts_[i]) >= wanted) return middle_of(i) / 1000.0;
  return middle_of(kBuckets - 1) / 1000.0;
}

void LatencyTimeline::add(Offset ended, std::chrono::microseconds latency) {
  slots_[ended / kSlot].add(latency);
}

LatencyHistogram LatencyTimeline::all() const {
  LatencyHistogram sum;
  for (const auto& [slot, histogram] : slots_) sum.merge(histogram);
  return sum;
}

LatencyHistogram LatencyTimeline::between(Offset from, Offset to) const {
  LatencyHistogram sum;
  for (auto it = slots_.lower_bound(from / kSlot); it != slots_.end() && it->first < to / kSlot; ++it)
    sum.merge(it->second);
  return sum;
}

std::pair<LatencyHistogram, LatencyHistogram> LatencyTimeline::split(const std::vector<Window>& windows) const {
  std::pair<LatencyHistogram, LatencyHistogram> split;
  for (const auto& [slot, histogram] : slots_) {
    const Offset from = slot * kSlot, to = from + kSlot;
    const bool inside =
        std::ranges::any_of(windows, [&](const Window& window) { return from < window.to && to > window.from; });
    (inside ? split.first : split.second).merge(histogram);
  }
  return split;
}

std::pair<LatencyHistogram, LatencyHistogram> LatencyTimeline::around(const std::vector<Offset>& events,
                                                                      Offset margin) const {
  std::vector<Window> windows;
  for (const Offset event : events) windows.push_back({event - margin, event + margin});
  return split(windows);
}

std::optional<double> p99_ratio(const LatencyHistogram& during, const LatencyHistogram& rest) {
  if (during.count() == 0 || rest.count() == 0 || rest.quantile_ms(0.99) <= 0) return std::nullopt;
  return during.quantile_ms(0.99) / rest.quantile_ms(0.99);
}

}  // namespace outlast::cli
