#pragma once
#include <boost/json/object.hpp>
#include <string>
#include <vector>

#include "cli/demo/rolling.h"
#include "cli/workload_outcome.h"

namespace outlast::cli {

// What the scenario rolling-restart adds to the demo's report. Pure.

/// What a restart of the whole cluster promises and did not keep, in words.
void rolling_failures(const std::vector<RollingTurn>& turns, const ConnectionCounts& connections,
                      std::vector<std::string>& why);
/// `longest_pause_ms` and `rounds`.
void add_rolling_fields(const std::vector<RollingTurn>& turns, double longest_pause_ms, boost::json::object& all);
/// Lines for a person.
std::string rolling_summary(const std::vector<RollingTurn>& turns, const ConnectionCounts& connections);

}  // namespace outlast::cli
