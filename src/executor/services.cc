#include "executor/services.h"

#include "executor/low_priority.h"

namespace outlast::executor {
namespace {
constexpr std::size_t kLongThreads = 4;
}  // namespace

void Services::post_long(Task task) {
  std::call_once(long_once_, [this] { long_ = std::make_unique<SqlPool>(kLongThreads); });
  if (!long_) return;
  long_->post([work = std::move(task)]() mutable {
    lower_priority();
    work();
  });
}

void Services::stop_long() {
  std::call_once(long_once_, [] {});
  if (long_) long_->stop();
}

}  // namespace outlast::executor
