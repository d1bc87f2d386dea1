#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "server/options.h"
#include "storage/disk.h"

namespace outlast::server {

/// What `outlast start --check` found: this program could start here.
struct CheckReport {
  std::string version;                                 ///< Of this program.
  std::map<std::string, std::uint64_t> state_formats;  ///< Highest that it reads: "store", "log", "handover".
  std::string sql_addr, http_addr, listen_addr;
  std::vector<std::string> warnings;  ///< What a person should know; nothing that keeps the node from starting.
};

/// One address as the options have it: host:port, and not one that other machines reach unless `insecure`.
Result<void> check_address(const std::string& option, const std::string& address, bool insecure);

/// Could this program run with these options and read what lies in the store? Binds and locks nothing, makes and
/// changes nothing, and asks no other process: it may run beside the node. Errors: one sentence that says what to do.
Result<CheckReport> check_start(storage::Disk& disk, const StartOptions& options);

/// One line: {"version":…,"state_formats":{…},"listeners":{"sql":…,"http":…,"rpc":…},"warnings":[…]}.
std::string to_json(const CheckReport& report);

}  // namespace outlast::server
