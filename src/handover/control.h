#pragma once
#include <optional>
#include <string>

#include "base/ids.h"
#include "base/result.h"

namespace outlast::handover {

/// What supervisor and worker say to each other over a SOCK_SEQPACKET pair, one message a packet, as text of the form
/// "kind key=value …" (unknown kinds and keys are ignored, so that versions can differ).
struct ControlMessage {
  enum class Kind : std::uint8_t {
    kUnknown,
    kIncarnation,  ///< Worker: this is who I am, said before the first /live is written (A2.3).
    kReady,        ///< Worker: serving.
    kStop,         ///< Supervisor: stop gracefully.
    kFatal,        ///< Worker: restarting me will not help; `text` says why.
    kStatus,       ///< Worker: what it does now, for people; said again and again while it drains.
  };
  Kind kind{Kind::kUnknown};
  NodeId node;
  Incarnation incarnation;
  std::string text;
};
std::string encode(const ControlMessage& message);
ControlMessage decode_control(std::string_view packet);

/// kUnavailable when the other side is gone.
Result<void> send_control(int fd, const ControlMessage& message);
/// nullopt: nothing there now (non-blocking fd). kUnavailable: the other side is gone.
Result<std::optional<ControlMessage>> receive_control(int fd);

}  // namespace outlast::handover
