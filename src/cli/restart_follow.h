#pragma once
#include <functional>
#include <optional>
#include <string>

#include "base/loop.h"
#include "base/result.h"
#include "cli/restart_text.h"

namespace outlast::cli {

struct RestartFollowOptions {
  bool wait{false}, json{false};
  Duration timeout{std::chrono::minutes(5)};
};

/// What the follower needs of the world; tests give their own.
struct RestartFollowPorts {
  std::function<Result<server::RestartStatus>()> start;  ///< Asks for the restart, once.
  /// What is known of the run `id` now, after a moment of waiting at most; nullopt: nothing new. An error that is not
  /// kUnavailable ends it.
  std::function<Result<std::optional<server::RestartStatus>>(std::uint64_t id)> look;
  std::function<Duration()> now;      ///< Since any instant; never goes back.
  std::function<bool()> interrupted;  ///< The user gave up.
  std::function<void(const std::string&)> out, err;
};

/// Asks for a restart, says how far it is, and ends with its receipt. The restart is the supervisor's: it goes on when
/// this program ends. Thread-safety: none.
class RestartFollow {
 public:
  RestartFollow(RestartFollowOptions options, RestartFollowPorts ports);
  /// Returns an ExitCode.
  int run();

 private:
  int fail(const std::string& sentence);
  int accepted();
  int follow();
  int finish(const boost::json::object& receipt);
  void show(const server::RestartStatus& status);

  const RestartFollowOptions options_;
  const RestartFollowPorts ports_;
  RestartProgress progress_;
  std::uint64_t id_{0};
  std::string last_;  ///< Shown last, as JSON.
};

}  // namespace outlast::cli
