#pragma once
#include <future>

#include "base/loop.h"

namespace outlast::server {

/// Starts `ask` on the loop and waits for its callback. For start-up and shut-down only; never on the loop itself.
/// A callback that is dropped comes back as kShuttingDown.
template <class T, class Ask>
Result<T> wait_on(Loop& loop, Ask ask) {
  OUTLAST_ASSERT(!loop.on_this_loop());
  auto promise = std::make_shared<std::promise<Result<T>>>();
  std::future<Result<T>> answer = promise->get_future();
  loop.post([&ask, promise = std::move(promise)]() mutable {
    ask([promise = std::move(promise)](Result<T> result) { promise->set_value(std::move(result)); });
  });
  try {
    return answer.get();
  } catch (const std::future_error&) {
    return Error(Errc::kShuttingDown, "the process is stopping");
  }
}

}  // namespace outlast::server
