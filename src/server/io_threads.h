#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <memory>
#include <vector>

namespace outlast::server {

/// The threads for clients' and peers' sockets. Each has a context of its own: what was put on one stays there, and an
/// event for it never wakes the others, as it would with threads that share a context.
/// Thread-safety: any thread. Lifetime: handlers that are left when it stops are destroyed with it.
class IoThreads {
 public:
  explicit IoThreads(std::size_t threads);
  ~IoThreads();
  IoThreads(const IoThreads&) = delete;
  IoThreads& operator=(const IoThreads&) = delete;
  const std::vector<boost::asio::any_io_executor>& executors() const { return executors_; }
  boost::asio::any_io_executor first() const { return executors_.front(); }
  /// No handler runs afterwards.
  void stop();

 private:
  struct One;
  std::vector<std::unique_ptr<One>> threads_;
  std::vector<boost::asio::any_io_executor> executors_;
};

}  // namespace outlast::server
