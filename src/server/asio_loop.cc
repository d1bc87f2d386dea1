#include "server/asio_loop.h"

#include <pthread.h>
#include <spdlog/spdlog.h>
#include <time.h>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <future>

namespace outlast::server {

Instant SystemClock::now() const {
  timespec t{};
  clock_gettime(CLOCK_BOOTTIME, &t);
  return Instant(std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec));
}

std::int64_t SystemClock::wall_micros() const {
  timespec t{};
  clock_gettime(CLOCK_REALTIME, &t);
  return static_cast<std::int64_t>(t.tv_sec) * 1'000'000 + t.tv_nsec / 1000;
}

struct AsioLoop::Timer {
  Timer(boost::asio::io_context& context, Task t) : timer(context), task(std::move(t)) {}
  boost::asio::steady_timer timer;
  Task task;
};

AsioLoop::AsioLoop()
    : thread_([this] {
        pthread_setname_np(pthread_self(), "control");
        context_.run();
      }) {}

AsioLoop::~AsioLoop() {
  stop();
}

void AsioLoop::stop() {
  if (!thread_.joinable()) return;
  context_.stop();
  thread_.join();
  timers_.clear();
}

void AsioLoop::post(Task task) {
  boost::asio::post(context_, std::move(task));
}

Loop::TimerId AsioLoop::after(Duration delay, Task task) {
  const TimerId id = next_timer_++;
  auto timer = std::make_unique<Timer>(context_, std::move(task));
  timer->timer.expires_after(delay);
  timer->timer.async_wait([this, id](const boost::system::error_code& error) {
    const auto it = timers_.find(id);
    if (error || it == timers_.end()) return;
    Task due = std::move(it->second->task);
    timers_.erase(it);
    due();
  });
  timers_.emplace(id, std::move(timer));
  return id;
}

void AsioLoop::cancel(TimerId timer) {
  timers_.erase(timer);
}

void AsioLoop::run_and_wait(Task task) {
  OUTLAST_ASSERT(!on_this_loop());
  std::promise<void> done;
  post([&] {
    task();
    done.set_value();
  });
  done.get_future().wait();
}

ThreadWorkers::ThreadWorkers(std::size_t threads) : pool_(threads) {}
ThreadWorkers::~ThreadWorkers() {
  stop();
}

void ThreadWorkers::stop() {
  pool_.stop();
  pool_.join();
}

void ThreadWorkers::submit(std::uint64_t key, Task task) {
  {
    const std::lock_guard lock(mutex_);
    const auto [it, idle] = queues_.try_emplace(key);
    it->second.push_back(std::move(task));
    if (!idle) return;
  }
  boost::asio::post(pool_, [this, key] { run_next(key); });
}

void ThreadWorkers::run_next(std::uint64_t key) {
  for (;;) {
    std::vector<Task> batch;
    {
      const std::lock_guard lock(mutex_);
      const auto it = queues_.find(key);
      if (it->second.empty()) {
        queues_.erase(it);
        return;
      }
      batch.swap(it->second);
    }
    for (Task& task : batch) std::exchange(task, {})();  // what it kept is not kept until the batch is over
  }
}

}  // namespace outlast::server
