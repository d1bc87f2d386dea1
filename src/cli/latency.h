#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace outlast::cli {

/// Counts of latencies in buckets 3 % wide, so that a run of hours keeps a few kilobytes a second of its time.
/// Thread-safety: none.
class LatencyHistogram {
 public:
  void add(std::chrono::microseconds latency);
  void merge(const LatencyHistogram& other);
  std::uint64_t count() const { return count_; }
  /// The latency that `fraction` (0..1] of all samples do not exceed, in milliseconds; 0 when there is none.
  double quantile_ms(double fraction) const;

 private:
  static constexpr std::size_t kBuckets = 1024;
  static std::size_t bucket_of(std::uint64_t micros);
  static double middle_of(std::size_t bucket);
  std::array<std::uint32_t, kBuckets> counts_{};
  std::uint64_t count_{0};
};

/// Latencies by the time at which their statements ended, in slots of half a second.
class LatencyTimeline {
 public:
  using Offset = std::chrono::microseconds;  ///< Since the start of the run.
  static constexpr Offset kSlot = std::chrono::milliseconds(500);

  void add(Offset ended, std::chrono::microseconds latency);
  LatencyHistogram all() const;
  LatencyHistogram between(Offset from, Offset to) const;
  struct Window {
    Offset from, to;
  };
  /// Splits all samples in those whose slot touches a window and the others.
  std::pair<LatencyHistogram, LatencyHistogram> split(const std::vector<Window>& windows) const;
  /// Splits all samples in those that ended within `margin` of an event and the others.
  std::pair<LatencyHistogram, LatencyHistogram> around(const std::vector<Offset>& events, Offset margin) const;

 private:
  std::map<std::int64_t, LatencyHistogram> slots_;
};

/// 99th percentile of `during` / that of `rest`; empty when either has no samples.
std::optional<double> p99_ratio(const LatencyHistogram& during, const LatencyHistogram& rest);

}  // namespace outlast::cli
