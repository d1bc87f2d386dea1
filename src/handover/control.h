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
    kFatal,        ///< Worker: I cannot start or go on; `text` says why, my exit code whether another one could.
    kStatus,       ///< Worker: what it does now, for people; said again and again while it drains.
    // A handover (A8). The workers talk to each other over a socket pair of their own; these are for the supervisor.
    kHandOver,  ///< Supervisor to the old worker: `fd` is your end of the pair; hand over when the new one is ready.
    kState,     ///< Worker: I have entered the HandoverState named by `text`.
    kOwned,     ///< New worker: the node is mine; `text` is the workers' half of the receipt, JSON.
    kRestart,   ///< Worker: somebody wants a restart; `text` is JSON, {"by": …, "id": …}, both may be missing.
    kRestartStatus,  ///< Supervisor, with every change: JSON, what GET /api/processes.zeroDowntimeRestart answers.
    kPlan,           ///< Supervisor: what would a handover move? Worker: the answer, JSON.
    kReload,         ///< Worker: somebody wants the configuration read again. Supervisor: JSON, what changed and what
                     ///< can only change with a restart, to be put in force and answered.
    kEndSourceOnly,  ///< Supervisor: store what the inputs have buffered, and what comes.
    kSourceOnly,     ///< Worker to a supervisor that adopts it, before its listeners: nothing is stored here yet.
    kLeaveFrontend,  ///< Supervisor: SIGUSR1, the frontend's graceful exit; the worker ends if it is nothing else.
    kListener,       ///< Worker to a supervisor that adopts it: `fd` is the listening socket named by `text`.
  };
  Kind kind{Kind::kUnknown};
  NodeId node;
  Incarnation incarnation;
  std::string text;
  int fd{-1};  ///< Sent along, or received: then the receiver closes it. -1: none.
};
std::string encode(const ControlMessage& message);
ControlMessage decode_control(std::string_view packet);

/// kUnavailable when the other side is gone.
Result<void> send_control(int fd, const ControlMessage& message);
/// nullopt: nothing there now (non-blocking fd). kUnavailable: the other side is gone.
Result<std::optional<ControlMessage>> receive_control(int fd);

}  // namespace outlast::handover
