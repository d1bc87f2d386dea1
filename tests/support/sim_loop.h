#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "base/loop.h"
#include "base/result.h"

namespace outlast::testing_support {

/// A Loop on simulated time for tests: posts run first in, first out; timers by (time, order of creation); time moves
/// only when the test says so. Everything runs on the thread that made it, inside run_ready(), run_until(), advance()
/// or advance_until(); none of these may be called from a task.
/// Thread-safety: post() and now() from any thread (a store's worker may post answers); the rest from the owner.
class SimLoop final : public Loop {
 public:
  Instant now() const override {
    std::lock_guard lock(mutex_);
    return now_;
  }
  std::int64_t wall_micros() const override {
    const auto passed = std::chrono::duration_cast<std::chrono::microseconds>(now() - kStart);
    return 1'700'000'000'000'000 + passed.count();
  }
  void post(Task task) override {
    std::lock_guard lock(mutex_);
    posted_.push_back(std::move(task));
    arrived_.notify_one();
  }
  TimerId after(Duration delay, Task task) override {
    check_owner();
    std::lock_guard lock(mutex_);
    const TimerId id = ++last_timer_;
    timers_.emplace(Due{now_ + (delay > Duration{0} ? delay : Duration{0}), id}, std::move(task));
    return id;
  }
  void cancel(TimerId timer) override {
    check_owner();
    Task dropped;  // destroyed without the lock: what it owns may call back
    std::lock_guard lock(mutex_);
    for (auto it = timers_.begin(); it != timers_.end(); ++it) {
      if (it->first.second != timer) continue;
      dropped = std::move(it->second);
      timers_.erase(it);
      return;
    }
  }
  bool on_this_loop() const override { return std::this_thread::get_id() == owner_; }

  /// Runs what is posted, and what that posts, until nothing is left. Returns how many tasks ran.
  std::size_t run_ready() {
    check_owner();
    std::size_t ran = 0;
    while (Task task = take_posted()) {
      task();
      ++ran;
    }
    return ran;
  }

  /// Runs posts, waiting in real time for those of other threads, until `done()` holds; simulated time stands still.
  /// Returns false when `limit` of real time passed first.
  bool run_until(const std::function<bool()>& done, std::chrono::milliseconds limit = std::chrono::seconds(20)) {
    const auto end = std::chrono::steady_clock::now() + limit;
    for (;;) {
      run_ready();
      if (done()) return true;
      std::unique_lock lock(mutex_);
      if (!arrived_.wait_until(lock, end, [this] { return !posted_.empty(); })) return false;
    }
  }

  /// Moves simulated time by `d`, timer by timer, running everything that becomes ready. Does not wait for threads.
  void advance(Duration d) {
    check_owner();
    const Instant end = now() + d;
    run_ready();
    while (fire_next(end)) run_ready();
    std::lock_guard lock(mutex_);
    now_ = end;
  }

  /// Moves simulated time from timer to timer until `done()` holds; false when `limit` of simulated time passed first
  /// (time stands at the limit then). Does not wait for threads.
  bool advance_until(const std::function<bool()>& done, Duration limit = std::chrono::hours(1)) {
    check_owner();
    const Instant end = now() + limit;
    run_ready();
    while (!done()) {
      if (!fire_next(end)) {
        std::lock_guard lock(mutex_);
        now_ = end;
        return false;
      }
      run_ready();
    }
    return true;
  }

  /// Time passes while nothing runs, as in a stopped process or a suspended machine: due timers fire late.
  void jump(Duration d) {
    std::lock_guard lock(mutex_);
    now_ += d;
  }
  std::size_t timer_count() const {
    std::lock_guard lock(mutex_);
    return timers_.size();
  }

 private:
  using Due = std::pair<Instant, TimerId>;
  static constexpr Instant kStart{std::chrono::hours(1)};  // not 0: a default Instant must look long past

  void check_owner() const { OUTLAST_ASSERT(on_this_loop(), "a SimLoop is driven by the thread that made it"); }
  Task take_posted() {
    std::lock_guard lock(mutex_);
    if (posted_.empty()) return {};
    Task task = std::move(posted_.front());
    posted_.pop_front();
    return task;
  }
  bool fire_next(Instant end) {
    Task task;
    {
      std::lock_guard lock(mutex_);
      if (timers_.empty() || timers_.begin()->first.first > end) return false;
      auto node = timers_.extract(timers_.begin());
      if (node.key().first > now_) now_ = node.key().first;
      task = std::move(node.mapped());
    }
    task();
    return true;
  }

  const std::thread::id owner_{std::this_thread::get_id()};
  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  Instant now_{kStart};
  std::deque<Task> posted_;
  std::map<Due, Task> timers_;
  TimerId last_timer_{0};
};

}  // namespace outlast::testing_support
