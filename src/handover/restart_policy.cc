#include "handover/restart_policy.h"

#include <algorithm>

namespace outlast::handover {
using namespace std::chrono_literals;

Duration RestartPolicy::on_exit(Instant started, Instant ended) {
  if (ended - started >= 10s) {
    short_lives_ = 0;
    return 0s;
  }
  const int n = short_lives_++;
  if (n == 0) return 0s;
  return std::min<Duration>(100ms * (1 << std::min(n - 1, 10)), 5s);
}

}  // namespace outlast::handover
