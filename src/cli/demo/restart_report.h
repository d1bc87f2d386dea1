#pragma once
#include <boost/json/object.hpp>
#include <string>
#include <vector>

#include "cli/demo/report.h"

namespace outlast::cli {

// What the scenario restart adds to the demo's report. Pure.

/// What a restart promises and did not keep, in words.
void restart_failures(const DemoReport& report, std::vector<std::string>& why);
/// `longest_pause_ms`, `restart_ms` and `receipts`.
void add_restart_fields(const DemoReport& report, boost::json::object& all);
/// Lines for a person.
std::string restart_summary(const DemoReport& report);

}  // namespace outlast::cli
