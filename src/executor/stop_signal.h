#pragma once
#include <atomic>
#include <cstdint>

#include "base/loop.h"

namespace outlast::executor {

/// Why a running statement has to stop.
enum class StopWhy : std::uint8_t {
  kNone,
  kCancelled,  ///< The session asked for it.
  kDeadline,   ///< The statement's own deadline passed.
  kRangeOver,  ///< This node does not lead the range any more.
  kSnapshot,   ///< Its read snapshot was held too long.
  kClosed,     ///< The session is gone.
};

/// Asked by SQLite's progress handler every hundred instructions. It belongs to the request, not to the connection, so
/// a late stop can never hit another session's statement on a pooled connection (as sqlite3_interrupt could).
/// Thread-safety: ask_stop() from any thread; the rest by the thread that runs the request.
class StopSignal {
 public:
  void reset(Instant deadline) {
    deadline_ = deadline;
    why_.store(StopWhy::kNone, std::memory_order_relaxed);
  }
  /// As reset(), but what was asked before the operation began holds for it.
  void begin(Instant deadline) { deadline_ = deadline; }
  /// The first reason stays.
  void ask_stop(StopWhy why) {
    StopWhy none = StopWhy::kNone;
    why_.compare_exchange_strong(none, why);
  }
  bool check(Instant now) {
    if (now >= deadline_) ask_stop(StopWhy::kDeadline);
    return why() != StopWhy::kNone;
  }
  StopWhy why() const { return why_.load(std::memory_order_relaxed); }
  Instant deadline() const { return deadline_; }

 private:
  std::atomic<StopWhy> why_{StopWhy::kNone};
  Instant deadline_{Instant::max()};
};

}  // namespace outlast::executor
