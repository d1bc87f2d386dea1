#include "server/io_threads.h"

#include <pthread.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <thread>

namespace outlast::server {

struct IoThreads::One {
  boost::asio::io_context context{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{context.get_executor()};
  std::thread thread{[this] {
    pthread_setname_np(pthread_self(), "io");
    context.run();
  }};
};

IoThreads::IoThreads(std::size_t threads) {
  for (std::size_t i = 0; i < threads; ++i) {
    threads_.push_back(std::make_unique<One>());
    executors_.emplace_back(threads_.back()->context.get_executor());
  }
}

IoThreads::~IoThreads() {
  stop();
}

void IoThreads::stop() {
  for (const auto& one : threads_) one->context.stop();
  for (const auto& one : threads_)
    if (one->thread.joinable()) one->thread.join();
}

}  // namespace outlast::server
