#include "cli/demo/roles/plan.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr Duration kWhole = 90s;  ///< Shorter runs have no time for a whole window in every exit.
}  // namespace

RolesPlan roles_plan(Duration run) {
  const bool whole = run >= kWhole;
  RolesPlan plan{.run = run, .detection = 2s, .long_exits = whole ? 3U : 1U};
  plan.medium_scan = 1s;
  plan.medium_join = 2s;
  plan.long_limit = plan.window() + 3s;
  plan.frontend_timeout = 20s;
  plan.fragments_timeout = 2 * plan.window() + 10s;
  plan.interval = 5s;
  plan.ttl = whole ? 10s : 5s;
  return plan;
}

}  // namespace outlast::cli
