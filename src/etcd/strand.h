#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "base/loop.h"

namespace outlast::etcd {

using Time = std::chrono::steady_clock::time_point;
inline Time now() {
  return std::chrono::steady_clock::now();
}

/// The thread on which everything of one store happens: posted tasks in order, and a tick every 50 ms for all that time
/// decides. Thread-safety: post() from any thread; it is accepted until destruction, and dropped after stop().
class Strand {
 public:
  ~Strand() { stop(); }
  void start(std::move_only_function<void()> tick);
  /// Joins the thread; tasks that have not begun never run.
  void stop();
  void post(Task task);

 private:
  static constexpr auto kTick = std::chrono::milliseconds(50);
  void run();
  std::move_only_function<void()> tick_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> tasks_;  // under mutex_
  bool stopping_{false};    // under mutex_
  std::thread thread_;
};

/// Calls of gRPC that have not ended: their callbacks may still use the strand.
class CallsUnderWay {
 public:
  void begin();
  void end();
  void wait_for_none();

 private:
  std::mutex mutex_;
  std::condition_variable none_;
  int count_{0};
};

}  // namespace outlast::etcd
