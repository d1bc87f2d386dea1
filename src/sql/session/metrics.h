#pragma once
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "base/loop.h"

namespace outlast::sql {

/// Statements by how long they took, in steps of a factor of the square root of two from 100 µs to 13 s. Thread-safety:
/// any thread.
class StatementTimes {
 public:
  static constexpr std::size_t kSteps = 35;
  /// Upper end of a step, in seconds; the last one has none.
  static double upper(std::size_t step) { return 1e-4 * std::pow(2.0, static_cast<double>(step) / 2); }
  void add(Duration took) {
    const double seconds = std::chrono::duration<double>(took).count();
    const double step = seconds > upper(0) ? std::ceil(2 * std::log2(seconds / upper(0))) : 0;
    counts_[std::min(kSteps - 1, static_cast<std::size_t>(step))].fetch_add(1, std::memory_order_relaxed);
    micros_.fetch_add(static_cast<std::uint64_t>(seconds * 1e6), std::memory_order_relaxed);
  }
  std::uint64_t count(std::size_t step) const { return counts_[step].load(std::memory_order_relaxed); }
  double sum_seconds() const { return static_cast<double>(micros_.load()) / 1e6; }

 private:
  std::array<std::atomic<std::uint64_t>, kSteps> counts_{};
  std::atomic<std::uint64_t> micros_{0};
};

/// Counts of the SQL port since the process started. Thread-safety: any thread.
struct SqlMetrics {
  std::atomic<std::int64_t> sessions_open{0};        ///< Connections, those still starting up included.
  std::atomic<std::uint64_t> sessions_total{0};      ///< Accepted connections.
  std::atomic<std::uint64_t> sessions_refused{0};    ///< Told to go at start-up, whatever the reason.
  std::atomic<std::uint64_t> sessions_shed{0};       ///< Ended with 57P01 at a safe point: nothing of theirs was open.
  std::atomic<std::uint64_t> sessions_cut{0};        ///< Ended with 57P01 inside a transaction or statement.
  std::atomic<std::uint64_t> sessions_moved_out{0};  ///< Left for another worker.
  std::atomic<std::uint64_t> sessions_moved_in{0};   ///< Came from another worker; not among sessions_total.
  std::atomic<std::uint64_t> statements{0};          ///< Simple and extended, failed ones included.
  std::atomic<std::uint64_t> cancel_requests{0};
  std::atomic<std::uint64_t> slow_clients_closed{0};  ///< Did not read for longer than the write deadline.
  std::atomic<std::uint64_t> bytes_in{0}, bytes_out{0};
  StatementTimes times;

  void count_error(std::string_view sqlstate) {
    const std::lock_guard lock(mutex_);
    ++errors_[std::string(sqlstate)];
  }
  std::map<std::string, std::uint64_t> errors() const {
    const std::lock_guard lock(mutex_);
    return errors_;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::uint64_t> errors_;
};

}  // namespace outlast::sql
