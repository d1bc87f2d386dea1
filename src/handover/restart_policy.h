#pragma once
#include "base/loop.h"

namespace outlast::handover {

/// When a worker that ended by itself is started again: at once the first time, then 100 ms doubling to 5 s while it
/// keeps ending within 10 s of its start. Pure.
class RestartPolicy {
 public:
  /// The delay before the next start.
  Duration on_exit(Instant started, Instant ended);
  /// Five short lives in a row: a crash loop, to be named in the status.
  bool crash_loop() const { return short_lives_ >= 5; }

 private:
  int short_lives_{0};
};

}  // namespace outlast::handover
