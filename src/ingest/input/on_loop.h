#pragma once
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <future>
#include <utility>

namespace outlast::ingest {

/// What `work` returns, done on the thread that runs `context`. Precondition: there is one, and it is not ours.
template <class Work>
auto on_loop(boost::asio::io_context& context, Work work) {
  std::packaged_task<decltype(work())()> task(std::move(work));
  auto done = task.get_future();
  boost::asio::post(context, [&task] { task(); });
  return done.get();
}

}  // namespace outlast::ingest
