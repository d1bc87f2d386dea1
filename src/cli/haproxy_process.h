#pragma once
#include <sys/types.h>

#include <string>

#include "cli/haproxy.h"

namespace outlast::cli {

/// A real HAProxy on a loopback port of the kernel's choice, for the demo. It inherits its listening socket, so that no
/// port is guessed; it ends with this object, and with the thread that started it.
class HaproxyProcess {
 public:
  HaproxyProcess() = default;
  ~HaproxyProcess() { stop(); }
  HaproxyProcess(const HaproxyProcess&) = delete;
  HaproxyProcess& operator=(const HaproxyProcess&) = delete;

  /// Writes haproxy.cfg and haproxy.log below `dir` and starts it. Clients may connect when this returns.
  /// Errors: kNotFound with what to install; kInvalidState when it refuses the configuration or ends at once.
  Result<void> start(const std::string& dir, const proto::NodeStatusReply& nodes, HaproxyOptions options);
  void stop();
  /// False once it has ended by itself.
  bool running();
  /// "127.0.0.1:PORT"
  const std::string& address() const { return address_; }
  /// What it said, its view of the nodes included.
  std::string log() const;

 private:
  pid_t pid_{0};
  std::string address_, log_;
};

/// The program, from PATH or where Debian puts it; empty when it is not there.
std::string find_haproxy();

}  // namespace outlast::cli
