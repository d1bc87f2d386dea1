#pragma once
#include <boost/json/array.hpp>
#include <string>
#include <vector>

#include "cli/demo/report.h"

namespace outlast::cli {

// What the scenario drain adds to the demo's report. Pure.

/// What a drain promises and did not keep, in words: nobody was hurt, and the node can prove it.
void drain_failures(const DemoReport& report, std::vector<std::string>& why);
boost::json::array drain_receipts(const DemoReport& report);
/// Lines for a person.
std::string drain_summary(const DemoReport& report);

}  // namespace outlast::cli
