#pragma once
#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace outlast::testing_support {

/// Posts numbered records {"message":"n=0"}, … to an HTTP input, four in each request, each request on a connection of
/// its own. What gets no 200 is not sent again, so that a record that is there twice was doubled by the server.
class HttpSender {
 public:
  explicit HttpSender(int port);
  ~HttpSender() { stop(); }
  void stop();
  const std::vector<long>& acknowledged() const { return acknowledged_; }  // after stop()
  /// Requests that were refused, reset or answered by another status; the last such answer.
  long failures() const { return failures_; }
  const std::string& failure() const { return failure_; }
  /// Requests so far that got a 200.
  long answered() const { return answered_; }

 private:
  void work();
  bool post(const std::string& body);

  const int port_;
  std::atomic<bool> over_{false};
  std::vector<long> acknowledged_;
  std::atomic<long> answered_{0}, failures_{0};
  std::string failure_;
  std::thread thread_;
};

/// A blocking connection to a port of this machine; -1: it was refused.
int connect_to(int port, const std::string& host = "127.0.0.1");

}  // namespace outlast::testing_support
