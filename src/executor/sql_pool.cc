#include "executor/sql_pool.h"

#include <boost/asio/defer.hpp>
#include <boost/asio/thread_pool.hpp>

namespace outlast::executor {

struct SqlPool::Threads {
  explicit Threads(std::size_t n) : pool(n) {}
  boost::asio::thread_pool pool;
};

SqlPool::SqlPool(std::size_t threads) : threads_(std::make_unique<Threads>(threads == 0 ? 1 : threads)) {}

SqlPool::SqlPool(std::function<void(Task)> run) : run_(std::move(run)) {}

SqlPool::~SqlPool() {
  stop();
}

void SqlPool::post(Task task) {
  if (run_) return run_(std::move(task));
  queued_.fetch_add(1, std::memory_order_relaxed);
  // Deferred: what a SQL thread posts (the next writer's turn) it takes itself when it is done, and wakes no other one.
  boost::asio::defer(threads_->pool, [this, work = std::move(task)]() mutable {
    queued_.fetch_sub(1, std::memory_order_relaxed);
    work();
  });
}

void SqlPool::stop() {
  if (threads_) threads_->pool.join();
}

}  // namespace outlast::executor
