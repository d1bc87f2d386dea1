#pragma once
#include <cstddef>

#include "base/loop.h"

namespace outlast::cli {

/// How long everything in a run of the scenario roles takes: StarRocks' times, scaled down so that every
/// node can leave and return within the run. Pure.
struct RolesPlan {
  Duration run{0};
  int loops{1};             ///< loop_count_wait_fragments_finish: 10 s each; its default is 2.
  Duration medium_scan{0};  ///< A query whose work is done where the rows are; what it takes when nothing else runs.
  Duration medium_join{0};  ///< One whose work is done where the rows come together.
  Duration long_limit{0};   ///< statement_timeout of a long query, which alone would take far longer.
  Duration detection{0};    ///< min_graceful_exit_time_second: a balancer notices by then.
  Duration frontend_timeout{0}, fragments_timeout{0};  ///< `--timeout` of a frontend's stop, and of the others'.
  Duration interval{0}, ttl{0};                        ///< Of the table whose old rows go.
  std::size_t long_exits{0};  ///< So many exits, of the compute node and backends, meet a long query.

  Duration window() const { return loops * std::chrono::seconds(10); }
};
RolesPlan roles_plan(Duration run);

}  // namespace outlast::cli
