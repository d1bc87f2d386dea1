#pragma once
#include "base/loop.h"

namespace outlast::cli {

/// While it lives, SIGINT, SIGTERM and SIGHUP do not end the process but are remembered, so that a command can clean up
/// what it started. One at a time in a process.
class InterruptScope {
 public:
  InterruptScope();
  ~InterruptScope();  ///< Restores what the signals did before.
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

  bool interrupted() const;
  /// Waits until a signal came (true) or `timeout` passed (false). From the thread that made this.
  bool wait(Duration timeout) const;

 private:
  struct Old;
  Old* old_;
};

}  // namespace outlast::cli
