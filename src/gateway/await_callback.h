#pragma once
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>

#include "base/loop.h"

namespace outlast::gateway {

/// Starts something that answers by Callback on any thread, and resumes the coroutine on its own executor.
template <class T>
struct StartWithCallback {
  std::move_only_function<void(Callback<T>)> start;
  template <class Handler>
  void operator()(Handler handler) {
    auto executor = boost::asio::get_associated_executor(handler);
    auto work = boost::asio::make_work_guard(executor);
    start([handler = std::move(handler), executor, work = std::move(work)](Result<T> result) mutable {
      auto boxed = std::make_unique<Result<T>>(std::move(result));
      boost::asio::post(
          executor, [handler = std::move(handler), boxed = std::move(boxed)]() mutable { handler(std::move(boxed)); });
    });
  }
};

template <class T>
boost::asio::awaitable<Result<T>> await_callback(std::move_only_function<void(Callback<T>)> start) {
  using Token = const boost::asio::use_awaitable_t<>;
  std::unique_ptr<Result<T>> result = co_await boost::asio::async_initiate<Token, void(std::unique_ptr<Result<T>>)>(
      StartWithCallback<T>{std::move(start)}, boost::asio::use_awaitable);
  co_return std::move(*result);
}

}  // namespace outlast::gateway
