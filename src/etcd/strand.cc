#include "etcd/strand.h"

#include <pthread.h>

namespace outlast::etcd {

void Strand::start(std::move_only_function<void()> tick) {
  tick_ = std::move(tick);
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "etcd");
    run();
  });
}

void Strand::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Strand::post(Task task) {
  std::lock_guard lock(mutex_);
  tasks_.push_back(std::move(task));
  wake_.notify_one();
}

void Strand::run() {
  Time next = now() + kTick;
  std::deque<Task> batch;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait_until(lock, next, [this] { return stopping_ || !tasks_.empty(); });
      if (stopping_) return;
      batch.swap(tasks_);
    }
    for (Task& task : batch) task();
    batch.clear();
    if (now() < next) continue;
    tick_();
    next = now() + kTick;
  }
}

void CallsUnderWay::begin() {
  std::lock_guard lock(mutex_);
  ++count_;
}

void CallsUnderWay::end() {
  std::lock_guard lock(mutex_);
  if (--count_ == 0) none_.notify_all();
}

void CallsUnderWay::wait_for_none() {
  std::unique_lock lock(mutex_);
  none_.wait(lock, [this] { return count_ == 0; });
}

}  // namespace outlast::etcd
