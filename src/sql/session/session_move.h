#pragma once
#include <cstdint>
#include <string>

#include "base/loop.h"
#include "proto/session.pb.h"

namespace outlast::sql {

/// A session that has left this process for another one: nothing of it is read or written here any more.
struct LeavingSession {
  proto::SessionState state;
  int fd{-1};           ///< The client's connection; whoever gets this owns it.
  Instant paused_at{};  ///< Since when nothing is read: the client may have waited from here on.
};

/// Whether a session can move to another worker now.
struct MoveView {
  enum class When : std::uint8_t {
    kNow,    ///< At a safe point.
    kLater,  ///< When its statement, COPY or transaction ends, or its portals do (Sync).
    kNever,  ///< It was told to go, or is too large: it must reconnect.
  };
  When when{When::kNow};
  std::string session;  ///< For people.
  std::string reason;   ///< Empty: kNow.
};

/// Watches a session that came from another worker, until that one is gone (handover/session_marks.h says why).
/// Called on the session's strand, in the order of what happens. Lifetime: shared with the session.
class SessionObserver {
 public:
  virtual ~SessionObserver() = default;
  /// Bytes of the client are about to be read.
  virtual void serving() = 0;
  /// The first bytes of an answer are about to be written.
  virtual void answering() = 0;
  /// It waits for its client again. `changed`: what it is now, when that differs from what was last told; else null.
  virtual void waiting(const proto::SessionState* changed) = 0;
  virtual void ended() = 0;
  /// False once nobody wants to know any more: the session forgets the observer at its next step.
  virtual bool interested() const = 0;
};

}  // namespace outlast::sql
