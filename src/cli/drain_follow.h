#pragma once
#include <functional>
#include <set>
#include <string>

#include "base/loop.h"
#include "base/result.h"
#include "cli/drain_text.h"

namespace outlast::cli {

struct DrainFollowOptions {
  proto::DrainRequest request;  ///< The drain; `shutdown` is asked for when it is complete.
  bool shutdown{false};
  Duration wait{std::chrono::minutes(10)};  ///< How long this program waits; the node's settings may raise it.
  std::string name;                         ///< "node 2", for messages.
  bool json{false}, terminal{false};
};

/// What the follower needs of the world; tests give their own.
struct DrainPorts {
  std::function<Result<proto::DrainReply>(const proto::DrainRequest&)>
      ask;                              ///< The node; blocks a few seconds at most.
  std::function<Duration()> now;        ///< Since any instant; never goes back.
  std::function<bool(Duration)> pause;  ///< True: the user gave up.
  std::function<void(const std::string&)> out, err;
};

/// Asks a node to drain and says how far it is until the end. The drain is the node's: it goes on when this program
/// ends, and running it again continues. A node that does not answer is asked again until the time is over; with
/// --shutdown its silence after the complete drain is the success. Thread-safety: none.
class DrainFollow {
 public:
  DrainFollow(DrainFollowOptions options, DrainPorts ports);
  /// Returns an ExitCode.
  int run();

 private:
  enum class Look : std::uint8_t { kGoesOn, kOver, kFailed };
  int fail(const std::string& sentence);
  Look take(const proto::DrainStatus& status);
  void raise_limit(const proto::DrainStatus& status);
  void show(const proto::DrainStatus& status);
  void clear_details();
  void lost(const Error& why);
  int finish();
  int shut_down();
  int timed_out();
  int interrupted();
  bool out_of_time() const { return ports_.now() - began_ >= limit_; }

  const DrainFollowOptions options_;
  const DrainPorts ports_;
  Duration began_{0}, limit_;
  proto::DrainStatus last_;  ///< The node's last answer.
  std::uint64_t incarnation_{0};
  std::string line_;  ///< Shown last.
  Duration line_at_{0};
  Duration work_at_{0};     ///< When something was left for the last time.
  std::size_t details_{0};  ///< Lines below it, on a terminal.
  bool lost_{false};
  std::set<std::string> warned_;
};

}  // namespace outlast::cli
