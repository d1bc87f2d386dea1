#pragma once
#include <atomic>
#include <chrono>

#include "base/loop.h"

namespace outlast::ingest::testing_support {

/// Time that only the test moves.
class TestClock final : public Clock {
 public:
  Instant now() const override { return Instant(Duration(nanos_.load())); }
  std::int64_t wall_micros() const override { return 1'700'000'000'000'000 + (nanos_ + wall_nanos_) / 1'000; }
  void advance(Duration by) { nanos_ += by.count(); }
  /// Somebody sets the wall clock, forward or back.
  void set_wall(Duration by) { wall_nanos_ += by.count(); }

 private:
  std::atomic<std::int64_t> nanos_{std::int64_t{3'600} * 1'000'000'000}, wall_nanos_{0};
};

/// The machine's, for tests with threads.
class RealClock final : public Clock {
 public:
  Instant now() const override { return Instant(std::chrono::steady_clock::now().time_since_epoch()); }
  std::int64_t wall_micros() const override {
    return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
};

}  // namespace outlast::ingest::testing_support
