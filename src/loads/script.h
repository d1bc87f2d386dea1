#pragma once
#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string>
#include <vector>

#include "loads/steps.h"

namespace outlast::loads {

/// A statement among several that go to a range in one request.
struct Step {
  std::string sql;
  Rows params{};            ///< One execution for each; none: one without parameters.
  bool must_change{false};  ///< When it changes no row, the rest is not run.
  bool counts{false};       ///< Its "changes()" is how many rows the step before changed.
};
/// kTogether: executor/script.h. kAlone: a request for each, where the leaseholder is too old or a step has many rows.
enum class Pace : std::uint8_t { kTogether, kAlone };
/// Inside the session's transaction. The rows of all steps that were run.
boost::asio::awaitable<Result<Rows>> run_steps(gateway::Session& session, std::optional<RangeId> range,
                                               std::vector<Step> steps, Pace pace);
/// The leaseholder is of a version that knows only kAlone.
bool wants_one_by_one(const Error& error);

}  // namespace outlast::loads
