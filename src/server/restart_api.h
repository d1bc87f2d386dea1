#pragma once
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/loop.h"
#include "http/server.h"

namespace outlast::server {

/// What the routes ask of the node, which asks its supervisor. Any thread; texts are JSON.
struct RestartPorts {
  /// Asks for a restart; `text` is {"by":…}. The answer is the supervisor's status (restart_status.h) after it took the
  /// wish. Errors: kUnavailable, there is no supervisor now.
  std::function<void(std::string text, Callback<std::string>)> restart;
  std::function<std::string()> status;  ///< The supervisor's last status; empty: it has not said anything yet.
  /// The receipt of the run `id`, once it is over; at once for a former one. Errors: kNotFound, no receipt of it is
  /// kept; kDeadline or kShuttingDown, not yet, and this process waits no longer: the client asks again.
  std::function<void(std::uint64_t id, Callback<std::string>)> when_finished;
  /// Reads the configuration again: what changed, and what only a restart changes.
  std::function<void(Callback<std::string>)> reload;
};

/// /api/processes.zeroDowntimeRestart
///   POST [?by=WHO]     starts a restart: 202 and the status, with "accepted": the id of its run
///   POST ?wait=1       and answers when it is over: its receipt, 200 or, when it was refused or rolled back, 409
///   GET                shows the status; it starts nothing
///   GET ?id=N[&wait=1] shows the receipt of run N; 202 and the status while there is none
/// `binary` is refused (403): no path of a program comes over the network.
/// GET, POST /api/config.gracefulReload: reads the configuration again.
void add_restart_routes(http::Server& server, RestartPorts ports);

/// The answers behind the routes.
boost::asio::awaitable<http::Response> answer_restart(std::shared_ptr<const RestartPorts> ports, http::Request request);
boost::asio::awaitable<http::Response> answer_reload(std::shared_ptr<const RestartPorts> ports, http::Request request);

}  // namespace outlast::server
