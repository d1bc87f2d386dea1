#pragma once
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "sql/sql_server.h"
#include "tests/support/fake_cluster.h"

namespace outlast::testing {

class BootTimeClock final : public Clock {
 public:
  Instant now() const override {
    timespec t{};
    ::clock_gettime(CLOCK_BOOTTIME, &t);
    return Instant(std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec));
  }
  std::int64_t wall_micros() const override { return 0; }
};

/// A SqlServer on an ephemeral port of 127.0.0.1, over a FakeCluster, with two threads.
class TestServer {
 public:
  explicit TestServer(sql::SessionOptions options = {})
      : server_(std::make_unique<sql::SqlServer>(std::vector<boost::asio::any_io_executor>{context_.get_executor()},
                                                 cluster, clock_, std::move(options))) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    OUTLAST_ASSERT(::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    OUTLAST_ASSERT(::listen(fd_, 128) == 0);
    OUTLAST_ASSERT(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
    const auto listening = server_->listen(fd_);
    OUTLAST_ASSERT(listening.ok());
    for (int i = 0; i < 2; ++i) threads_.emplace_back([this] { context_.run(); });
  }
  ~TestServer() {
    stop(std::chrono::milliseconds(200));
    server_.reset();
    guard_.reset();
    context_.stop();
    for (std::thread& thread : threads_) thread.join();
  }
  /// Returns when every session is gone.
  void stop(Duration limit) { stop(*server_, limit); }
  /// The same for another server on executors().
  static void stop(sql::SqlServer& server, Duration limit) {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
    server.stop(limit, [&] {
      const std::lock_guard lock(mutex);
      done = true;
      changed.notify_all();
    });
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return done; });
  }
  int port() const { return port_; }
  std::vector<boost::asio::any_io_executor> executors() { return {context_.get_executor()}; }
  sql::SqlServer& server() { return *server_; }
  FakeCluster cluster;

 private:
  BootTimeClock clock_;
  boost::asio::io_context context_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard_{context_.get_executor()};
  std::unique_ptr<sql::SqlServer> server_;
  std::vector<std::thread> threads_;
  int fd_{-1}, port_{0};
};

}  // namespace outlast::testing
