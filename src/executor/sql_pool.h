#pragma once
#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>

#include "base/loop.h"

namespace outlast::executor {

/// The threads on which SQLite runs, and nothing else: waiting for the writer lock, for durability or for a client
/// never occupies one, so that a COMMIT cannot starve behind those who wait for it. Thread-safety: all members from any
/// thread. Lifetime: outlives every Executor that uses it.
class SqlPool {
 public:
  explicit SqlPool(std::size_t threads);
  /// Without threads of its own: `run` sees to each task (a simulator). It may drop them once it is stopped.
  explicit SqlPool(std::function<void(Task)> run);
  ~SqlPool();  ///< As stop().
  SqlPool(const SqlPool&) = delete;
  SqlPool& operator=(const SqlPool&) = delete;

  /// Runs `task` on one of the threads, in order of asking as far as threads are free. `task` must not throw.
  void post(Task task);
  /// Runs what is queued and joins the threads; later posts are dropped.
  void stop();
  /// Tasks posted and not yet started.
  std::size_t queued() const { return queued_.load(std::memory_order_relaxed); }

 private:
  struct Threads;
  std::atomic<std::size_t> queued_{0};
  std::unique_ptr<Threads> threads_;  ///< Null with run_.
  std::function<void(Task)> run_;
};

}  // namespace outlast::executor
