#pragma once
#include <boost/json/object.hpp>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace outlast::server {

/// What a supervisor says about its restarts: one JSON object, {"state":"sessions","id":7,"queued":false,…,
/// "receipt":{…last finished…}}. Fields that are missing are empty.
struct RestartStatus {
  std::string state;            ///< Of the run that goes on, in the words of handover/states.h; "idle" when none does.
  std::uint64_t id{0};          ///< Of that run, or of the last one.
  bool queued{false};           ///< One more run will follow: id + 1.
  std::uint64_t accepted{0};    ///< Said in the answer to a trigger: its run. 0: not said.
  boost::json::object receipt;  ///< Of the last run that finished.
  boost::json::object all;      ///< Everything, as it came.

  bool running() const { return !state.empty() && state != "idle" && state != "done"; }
  /// The run that a trigger which got this answer will have.
  std::uint64_t accepted_id() const { return accepted != 0 ? accepted : queued ? id + 1 : id; }
  std::uint64_t receipt_id() const;
  /// The run `wanted` is over, or will never be.
  bool finished(std::uint64_t wanted) const { return wanted <= receipt_id(); }
};
/// kProtocolViolation for what is no JSON object.
Result<RestartStatus> parse_restart_status(std::string_view text);

/// A receipt's outcome is what was asked for: "completed", or "recovered" from a failure on the way.
bool restart_succeeded(const boost::json::object& receipt);

// Fields of JSON objects that another version may have written: what is missing or of another kind is empty.
std::uint64_t number_of(const boost::json::object& object, std::string_view key);
std::string text_of(const boost::json::object& object, std::string_view key);
boost::json::object object_of(const boost::json::object& object, std::string_view key);
boost::json::array array_of(const boost::json::object& object, std::string_view key);

}  // namespace outlast::server
