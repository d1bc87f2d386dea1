#pragma once
#include <optional>
#include <string>

#include "base/loop.h"
#include "base/result.h"
#include "handover/control.h"

namespace outlast::cli {

/// A connection to the supervisor of the node whose store is on this machine, through STORE/supervisor.sock.
/// Thread-safety: none. Lifetime: owns its socket.
class SupervisorLink {
 public:
  /// kUnavailable: no supervisor runs on this store, or it does not let this user in.
  static Result<SupervisorLink> connect(const std::string& store);
  SupervisorLink(SupervisorLink&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  SupervisorLink& operator=(SupervisorLink&& other) noexcept;
  ~SupervisorLink();

  Result<void> send(handover::ControlMessage::Kind kind, const std::string& text);
  /// The next message; nullopt when none came within `timeout`. kUnavailable: the supervisor is gone.
  Result<std::optional<handover::ControlMessage>> receive(Duration timeout);

 private:
  explicit SupervisorLink(int fd) : fd_(fd) {}
  int fd_{-1};
};

}  // namespace outlast::cli
