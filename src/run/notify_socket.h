#pragma once
#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>

#include "base/result.h"

namespace outlast::run {

/// What a server says by sd_notify(3).
struct Notice {
  bool ready{false}, reloading{false}, stopping{false};
  std::string status;
};
Notice parse_notice(const std::string& text);

/// The socket that one server process says its notices to: an abstract Unix datagram socket, so that nothing is left
/// behind. Only datagrams of a process that `is_ours` are heard: the kernel names their sender (SO_PASSCRED).
class NotifySocket {
 public:
  static Result<NotifySocket> open();
  NotifySocket() = default;
  ~NotifySocket();
  NotifySocket(NotifySocket&& other) noexcept : fd_(std::exchange(other.fd_, -1)), name_(std::move(other.name_)) {}
  NotifySocket& operator=(NotifySocket&& other) noexcept;

  int fd() const { return fd_; }
  const std::string& name() const { return name_; }  ///< For NOTIFY_SOCKET.
  /// The next notice that is there already.
  std::optional<Notice> receive(const std::function<bool(pid_t)>& is_ours);

 private:
  int fd_{-1};
  std::string name_;
};

}  // namespace outlast::run
