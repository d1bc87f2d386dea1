#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "server/options.h"

namespace outlast::server {

/// When a changed option comes into force.
enum class Takes : std::uint8_t {
  kNow,      ///< With the reload.
  kRestart,  ///< With the next restart: the new worker has it.
  kStop,     ///< Only when the node is stopped and started.
};

struct OptionChange {
  std::string name;  ///< "log-level", as in the configuration file.
  std::string from, to;
  Takes takes{Takes::kRestart};
  friend bool operator==(const OptionChange&, const OptionChange&) = default;
};
/// What differs, in the order of the help. Pure.
std::vector<OptionChange> compare_options(const StartOptions& before, const StartOptions& after);

/// The answer to a reload: {"now":{"log-level":"debug"},"restart":{…},"stop":{…}}, each an object of new values. Pure.
std::string reload_json(const std::vector<OptionChange>& changes);
/// The values under "now" of such an answer; none when it is something else. Pure.
std::map<std::string, std::string> values_now(std::string_view reload);

}  // namespace outlast::server
