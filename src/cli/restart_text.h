#pragma once
#include <boost/json/object.hpp>
#include <string>
#include <string_view>

#include "base/loop.h"
#include "server/restart_status.h"

namespace outlast::cli {

// What `outlast restart` says. Pure.

/// What happens in a state of a handover, for people: "moving sessions and leases".
std::string restart_step(std::string_view state);
/// After the end, a dozen lines at most: outcome, versions, duration of each step, what became of sessions and
/// statements, and every session that did not move, with its reason.
std::string restart_receipt(const boost::json::object& receipt);
/// The supervisor's {"trial":…,"worker":…}: whether the program could start, what would move, what would wait, and what
/// would be told to reconnect.
std::string restart_plan(const boost::json::object& plan);
/// Why the restart would be refused; empty: it would not.
std::string plan_refusal(const boost::json::object& plan);
/// Why a restart did not do what it was asked to.
std::string restart_failure(const boost::json::object& receipt);

/// A line for each state that a restart has left behind, with how long it took as seen from here.
class RestartProgress {
 public:
  /// Complete lines to show now, mostly none.
  std::string take(const server::RestartStatus& status, std::uint64_t id, Duration now);

 private:
  std::string state_;
  Duration since_{0};
  bool waits_{false};  ///< Another run comes first, and it was said.
};

}  // namespace outlast::cli
