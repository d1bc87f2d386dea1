#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <utility>

#include "base/result.h"

namespace outlast {

/// CLOCK_BOOTTIME: monotonic and counts suspend (protocol A1). Never a wall clock.
struct BootClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<BootClock>;
  static constexpr bool is_steady = true;
};
using Instant = BootClock::time_point;
using Duration = std::chrono::nanoseconds;

using Task = std::move_only_function<void()>;
template <class T>
using Callback = std::move_only_function<void(Result<T>)>;

/// Time, as passed to pure code. Only src/server and tests make one.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Instant now() const = 0;
  /// Microseconds since 1970 UTC, for display and SQL's now(); never for a decision.
  virtual std::int64_t wall_micros() const = 0;
};

/// One thread of control: everything posted runs one after another, never at once. The node's decisions
/// (liveness, replication, placement) live on one Loop, so that a simulator can drive them on simulated time.
/// Thread-safety: post() from any thread; the rest only from tasks of this loop.
class Loop : public Clock {
 public:
  using TimerId = std::uint64_t;  ///< 0 is "no timer".
  virtual void post(Task task) = 0;
  /// Runs `task` after `delay`, unless cancelled. Lifetime: the loop drops what is pending when it ends.
  virtual TimerId after(Duration delay, Task task) = 0;
  virtual void cancel(TimerId timer) = 0;
  virtual bool on_this_loop() const = 0;
};

/// Runs blocking work (SQLite, fsync) elsewhere. Tasks with the same key run in order, one at a time.
/// A simulator runs them on its one thread.
class Workers {
 public:
  virtual ~Workers() = default;
  virtual void submit(std::uint64_t key, Task task) = 0;
};

/// Chance, as passed to pure code: seeded, printed, replayable.
class Random {
 public:
  virtual ~Random() = default;
  virtual std::uint64_t next() = 0;
  /// Uniform in [0, n); n > 0.
  std::uint64_t below(std::uint64_t n) { return next() % n; }
};

/// xoshiro256** (Blackman, Vigna 2018), seeded through splitmix64: integers only, the same everywhere.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed);
  std::uint64_t next() override;

 private:
  std::uint64_t state_[4];
};

}  // namespace outlast
