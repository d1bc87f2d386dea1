#pragma once
#include <sys/resource.h>

namespace outlast::executor {

/// Lowers the calling thread's priority, once: for threads that run long queries only, so that where processors are
/// short everybody's statements come first. Linux counts priorities by thread. Without the right to it nothing changes.
inline void lower_priority() {
  constexpr int kNice = 5;
  static thread_local const int done = ::setpriority(PRIO_PROCESS, 0, kNice);
  (void)done;
}

}  // namespace outlast::executor
