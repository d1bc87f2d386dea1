#pragma once
#include <cstdint>
#include <optional>

#include "base/loop.h"

namespace outlast::ingest {

/// Fluentd's retry_*, with its defaults.
struct RetryLimits {
  Duration wait{std::chrono::seconds(1)};    ///< Before the first retry.
  double base{2};                            ///< retry_exponential_backoff_base: each wait is so many times the last.
  std::optional<Duration> max_interval;      ///< No wait is longer.
  Duration timeout{std::chrono::hours(72)};  ///< After the first failure.
  std::optional<std::uint32_t> max_times;    ///< Retries.
  bool forever{false};                       ///< Neither of the two ends it.
  bool randomize{true};                      ///< Each wait is up to an eighth shorter or longer.
};

/// When a sink that failed is tried again, and when that ends. One outage: from the first failure to the next success.
/// Pure: time and chance come in. Thread-safety: none.
class RetryState {
 public:
  explicit RetryState(RetryLimits limits) : limits_(limits) {}
  /// The next try; nullopt: it has been tried long enough, and a new outage begins with the next failure.
  std::optional<Instant> failed(Instant now, Random& random);
  void succeeded();
  /// No try before this; nullopt: no outage.
  std::optional<Instant> next() const { return next_; }
  /// Failures of this outage.
  std::uint32_t failures() const { return failures_; }

 private:
  Duration next_wait(Random& random) const;
  RetryLimits limits_;
  std::uint32_t failures_{0};
  Instant since_{};
  std::optional<Instant> next_;
};

}  // namespace outlast::ingest
