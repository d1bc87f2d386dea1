#pragma once
#include <boost/json/object.hpp>
#include <optional>
#include <string>
#include <vector>

#include "cli/demo/roles/exits.h"
#include "cli/demo/roles/expectations.h"
#include "cli/demo/roles/loads.h"
#include "cli/demo/roles/plan.h"
#include "cli/demo/roles/queries.h"
#include "cli/demo/roles/tasks.h"

namespace outlast::cli {

/// What the scenario roles adds to the demo's report. What was not measured is empty, and fails the run.
struct RolesReport {
  RolesPlan plan;
  std::vector<NodeRole> nodes;
  std::vector<ExitTurn> exits;
  QueryCounts medium, long_ones;
  std::optional<LabelCounts> labels, plain_labels;  ///< Of senders that repeat, and of those that do not.
  std::optional<TaskCounts> tasks;
  std::uint64_t leader_changes{0};
  std::optional<double> longest_silence_seconds;  ///< In which no short statement of any client was answered.
};

/// What the exits promise and did not keep, in words. Pure.
void roles_failures(const RolesReport& roles, const DemoReport& report, std::vector<std::string>& why);
void add_roles_fields(const RolesReport& roles, const DemoReport& report, boost::json::object& all);
/// Lines for a person.
std::string roles_summary(const RolesReport& roles, const DemoReport& report);

}  // namespace outlast::cli
