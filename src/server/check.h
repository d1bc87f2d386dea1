#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "server/options.h"
#include "storage/disk.h"
#include "storage/store_dir.h"

namespace outlast::server {

/// What `outlast start --check` found: this program could start here.
struct CheckReport {
  std::string version;                                 ///< Of this program.
  std::map<std::string, std::uint64_t> state_formats;  ///< Highest that it reads: "store", "log", "handover".
  std::string sql_addr, http_addr, listen_addr;        ///< Empty: none, of a collector.
  std::vector<std::string> warnings;  ///< What a person should know; nothing that keeps the node from starting.
};

/// The addresses that a node with these options listens on: host:port, and none that other machines reach unless
/// `insecure`.
Result<void> check_addresses(const StartOptions& options);

/// A collector needs a store that is no node's.
Result<void> check_collector_store(const storage::StoreDir& store);

/// Could this program run with these options and read what lies in the store? Binds and locks nothing, makes and
/// changes nothing, and asks no other process: it may run beside the node. Errors: one sentence that says what to do.
Result<CheckReport> check_start(storage::Disk& disk, const StartOptions& options);

/// One line: {"version":…,"state_formats":{…},"listeners":{"sql":…,"http":…,"rpc":…},"warnings":[…]}.
std::string to_json(const CheckReport& report);

}  // namespace outlast::server
