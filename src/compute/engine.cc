#include "compute/engine.h"

#include "compute/local_query.h"
#include "compute/placed_query.h"
#include "executor/low_priority.h"

namespace outlast::compute {

std::shared_ptr<Query> Engine::make(Plan plan) {
  if (!ports_.places || plan.fragments.empty()) return make_local(std::move(plan));
  auto places = ports_.places();
  if (places.empty()) return make_local(std::move(plan));
  return std::make_shared<PlacedQuery>(*this, std::move(plan), std::move(places));
}

std::shared_ptr<Query> Engine::make_local(Plan plan) {
  return std::make_shared<LocalQuery>(*this, std::move(plan));
}

executor::SqlPool& Engine::pool() {
  std::call_once(once_, [this] { pool_ = std::make_unique<executor::SqlPool>(parameters_.threads); });
  return *pool_;
}

void Serial::post(Task task) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(task));
    if (std::exchange(busy_, true)) return;
  }
  pool_.post([self = shared_from_this()] { self->run_next(); });
}

void Serial::run_next() {
  executor::lower_priority();
  Task task;
  {
    const std::lock_guard lock(mutex_);
    task = std::move(waiting_.front());
    waiting_.pop_front();
  }
  task();
  task = nullptr;
  {
    const std::lock_guard lock(mutex_);
    busy_ = !waiting_.empty();
    if (!busy_) return;
  }
  pool_.post([self = shared_from_this()] { self->run_next(); });
}

}  // namespace outlast::compute
