#pragma once
#include <memory>
#include <string>

#include "sql/session/session_move.h"

namespace outlast::sql {

/// Tells a SessionObserver what it wants to know and nothing twice. Without an observer every call costs one
/// comparison. Thread-safety: the session's strand.
class SessionTeller {
 public:
  /// `told`: what the observer takes the session for.
  void begin(std::shared_ptr<SessionObserver> observer, const proto::SessionState& told);
  /// Whether anybody wants to know; who does not any more is forgotten.
  bool listens();
  void serving();
  void answering();
  void waiting(const proto::SessionState& now);
  void ended();

 private:
  enum class Told : std::uint8_t { kWaiting, kServing, kAnswering };
  std::shared_ptr<SessionObserver> observer_;
  Told told_{Told::kWaiting};
  std::string state_;  ///< What was told last, as bytes.
};

}  // namespace outlast::sql
