#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cli/supervisor_link.h"
#include "server/restart_status.h"

namespace outlast::cli {

/// Where a restart is asked for and followed: a node's supervisor.
class RestartSource {
 public:
  virtual ~RestartSource() = default;
  /// `binary`: path of the new program; empty = what lies at the path of the present one.
  virtual Result<server::RestartStatus> start(const std::string& by, const std::string& binary) = 0;
  /// What is known of the run `id`, after a moment of waiting at most; nullopt: nothing new. kUnavailable: nobody
  /// answers now.
  virtual Result<std::optional<server::RestartStatus>> look(std::uint64_t id) = 0;
  virtual Result<boost::json::object> plan(const std::string& binary) = 0;
};

/// Through STORE/supervisor.sock; when the supervisor goes away or replaces itself, through STORE/RESTARTS.json.
std::unique_ptr<RestartSource> restart_by_store(std::string store);
/// Through the node's HTTP address, "host:port".
std::unique_ptr<RestartSource> restart_by_http(std::string address);

/// The receipt of run `id` in the text of RESTARTS.json, as a status that has it; nullopt: not there. Pure.
std::optional<server::RestartStatus> find_receipt(std::string_view restarts_json, std::uint64_t id);

}  // namespace outlast::cli
