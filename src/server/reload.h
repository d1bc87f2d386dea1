#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/options.h"

namespace outlast::server {

/// What a new reading of the configuration means for a running node: some values take effect at once, the others with
/// the next restart. JSON: {"changed":{"log-level":"debug",…},"needs_restart":["sql-addr",…]}.
struct Reload {
  std::optional<std::string> log_level;
  std::optional<std::int64_t> max_connections;
  std::optional<Duration> grace;
  std::vector<std::string> needs_restart;  ///< Names of options.
  friend bool operator==(const Reload&, const Reload&) = default;
};
Reload compare(const StartOptions& now, const StartOptions& next);
std::string to_json(const Reload& reload);
/// kInvalidArgument for what is no such text; what a newer version says besides is ignored.
Result<Reload> parse_reload(std::string_view text);

}  // namespace outlast::server
