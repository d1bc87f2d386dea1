#include "executor/local_channel.h"

#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/defer.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "executor/channel_core.h"

namespace outlast::executor {
namespace {

/// Starts a request and resumes the coroutine with its reply, on the coroutine's own executor.
struct StartRequest {
  std::shared_ptr<ChannelCore> core;
  template <class Handler>
  void operator()(Handler handler, proto::ExecRequest request) {
    auto executor = boost::asio::get_associated_executor(handler);
    auto work = boost::asio::make_work_guard(executor);
    core->start(std::move(request), [handler = std::move(handler), executor = std::move(executor),
                                     work = std::move(work)](proto::ExecReply reply) mutable {
      // Deferred: when the reply is there at once, this very thread goes on with it, and no other one is woken.
      boost::asio::defer(
          executor, [handler = std::move(handler), reply = std::move(reply)]() mutable { handler(std::move(reply)); });
    });
  }
};

}  // namespace

LocalChannel::~LocalChannel() {
  core_->close();
}

boost::asio::awaitable<proto::ExecReply> LocalChannel::call(proto::ExecRequest request) {
  using Token = const boost::asio::use_awaitable_t<>;
  co_return co_await boost::asio::async_initiate<Token, void(proto::ExecReply)>(
      StartRequest{core_}, boost::asio::use_awaitable, std::move(request));
}

void LocalChannel::start(proto::ExecRequest request, std::move_only_function<void(proto::ExecReply)> done) {
  core_->start(std::move(request), std::move(done));
}

void LocalChannel::interrupt() {
  core_->interrupt();
}

}  // namespace outlast::executor
