#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/this_coro.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "gateway/await_callback.h"

namespace outlast::gateway {

/// Work on the numbers 0 … count-1, some at once, on the caller's executor. After the first failure none is begun;
/// returns when those under way have ended, with that failure. `work` lives until then.
class InParallel : public std::enable_shared_from_this<InParallel> {
 public:
  using Work = std::function<boost::asio::awaitable<Result<void>>(std::size_t)>;
  static boost::asio::awaitable<Result<void>> run(std::size_t count, std::size_t at_once, Work work) {
    if (count == 0) co_return Result<void>();
    const auto executor = co_await boost::asio::this_coro::executor;
    const auto self = std::make_shared<InParallel>(count, std::move(work));
    co_return co_await await_callback<void>([self, executor, at_once](Callback<void> done) {
      self->done_ = std::move(done);
      self->running_ = std::min(at_once, self->count_);
      for (std::size_t i = std::min(at_once, self->count_); i > 0; --i)
        boost::asio::co_spawn(executor, work_on(self), boost::asio::detached);
    });
  }
  InParallel(std::size_t count, Work work) : count_(count), work_(std::move(work)) {}

 private:
  static boost::asio::awaitable<void> work_on(std::shared_ptr<InParallel> self) {
    for (;;) {
      std::size_t mine = 0;
      {
        const std::lock_guard lock(self->mutex_);
        if (self->failed_ || self->next_ == self->count_) break;
        mine = self->next_++;
      }
      Result<void> done = co_await self->work_(mine);
      if (done.ok()) continue;
      const std::lock_guard lock(self->mutex_);
      if (!self->failed_) self->failed_ = std::move(done).error();
    }
    std::unique_lock lock(self->mutex_);
    if (--self->running_ > 0) co_return;
    lock.unlock();
    self->done_(self->failed_ ? Result<void>(*std::move(self->failed_)) : Result<void>());
  }

  const std::size_t count_;
  const Work work_;
  std::mutex mutex_;
  std::size_t next_{0}, running_{0};
  std::optional<Error> failed_;
  Callback<void> done_;
};

}  // namespace outlast::gateway
