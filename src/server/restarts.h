#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/loop.h"
#include "server/restart_api.h"
#include "server/supervisor_link.h"

namespace outlast::server {

/// What the supervisor said about restarts, for whoever asks this worker over HTTP. The supervisor's word is the truth:
/// this only keeps the last one and wakes who waits. Thread-safety: any thread; callbacks run on the supervisor link's.
class Restarts {
 public:
  /// A receipt, JSON, that was not there before. To be set before the first note().
  std::function<void(const std::string& receipt)> on_receipt;

  /// The supervisor's status, JSON.
  void note(std::string status);
  std::string status() const;  ///< Empty: it has not said anything yet.
  /// The status that follows a request which was just sent.
  void when_accepted(Callback<std::string> done);
  /// The receipt of restart `id`, at once when it is known; kShuttingDown when this worker goes before.
  void when_finished(std::uint64_t id, Callback<std::string> done);
  void when_reloaded(Callback<std::string> done);
  void reloaded(std::string answer);
  /// Nobody supervises any more: whoever waits is told so.
  void abandon();
  /// Somebody was answered just now: give the answer time to leave.
  bool answered() const;

 private:
  mutable std::mutex mutex_;
  std::string status_;
  std::uint64_t last_receipt_{0};
  bool knows_receipts_{false}, answered_{false};
  std::map<std::uint64_t, std::string> receipts_;
  std::vector<Callback<std::string>> accepting_, reloading_;
  std::multimap<std::uint64_t, Callback<std::string>> finishing_;
};

/// What HTTP asks of a worker's supervisor. Both outlive the ports.
RestartPorts restart_ports(Restarts& restarts, SupervisorLink& link);

}  // namespace outlast::server
