#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "base/loop.h"

namespace outlast::server {

/// CLOCK_BOOTTIME and the wall clock: the only place that reads the system's.
class SystemClock final : public Clock {
 public:
  Instant now() const override;
  std::int64_t wall_micros() const override;
};

/// The node's control loop: one thread that runs posted tasks and timers. Lifetime: stop() ends the thread; tasks still
/// queued are dropped with the loop.
class AsioLoop final : public Loop {
 public:
  AsioLoop();
  ~AsioLoop() override;
  AsioLoop(const AsioLoop&) = delete;
  AsioLoop& operator=(const AsioLoop&) = delete;
  Instant now() const override { return clock_.now(); }
  std::int64_t wall_micros() const override { return clock_.wall_micros(); }
  void post(Task task) override;
  TimerId after(Duration delay, Task task) override;
  void cancel(TimerId timer) override;
  bool on_this_loop() const override { return std::this_thread::get_id() == thread_.get_id(); }
  /// For sockets that are served on the loop's thread. Not to be used after stop().
  boost::asio::any_io_executor executor() { return context_.get_executor(); }
  /// Runs `task` on the loop and waits for it. Not from the loop itself.
  void run_and_wait(Task task);
  void stop();

 private:
  struct Timer;
  SystemClock clock_;
  boost::asio::io_context context_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{context_.get_executor()};
  std::unordered_map<TimerId, std::unique_ptr<Timer>> timers_;
  TimerId next_timer_{1};
  std::thread thread_;
};

/// Workers on threads of their own; tasks with one key run in order, one at a time.
class ThreadWorkers final : public Workers {
 public:
  explicit ThreadWorkers(std::size_t threads);
  ~ThreadWorkers() override;
  void submit(std::uint64_t key, Task task) override;
  void stop();

 private:
  void run_next(std::uint64_t key);
  boost::asio::thread_pool pool_;
  std::mutex mutex_;
  std::unordered_map<std::uint64_t, std::vector<Task>> queues_;  ///< A key is present while one of its tasks runs.
};

}  // namespace outlast::server
