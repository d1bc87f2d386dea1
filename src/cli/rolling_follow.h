#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "cli/rolling_text.h"

namespace outlast::cli {

struct RollingFollowOptions {
  std::uint64_t task{0};
  std::string token;  ///< Of this command line, different from all others.
  bool json{false};
};

/// What the follower needs of the world; tests give their own.
struct RollingFollowPorts {
  std::function<Result<proto::TasksReply>(const proto::TasksRequest&)> ask;  ///< Any node; blocks some seconds at most.
  std::function<Result<void>(NodeId, const std::string& command)> run;       ///< Begins the command for a node.
  std::function<std::optional<int>(NodeId)> exit;                            ///< Its exit code, once it has ended.
  std::function<Duration()> now;                                             ///< Since any instant; never goes back.
  std::function<bool(Duration)> pause;                                       ///< True: the user gave up.
  std::function<void(const std::string&)> out, err;
};

/// Says how far a rolling restart is until it ends or pauses, and runs its command for each node whose turn it is. The
/// task is the cluster's: it goes on when this program ends, and waits where it needs a command. Thread-safety: none.
class RollingFollow {
 public:
  RollingFollow(RollingFollowOptions options, RollingFollowPorts ports);
  /// Returns an ExitCode: kDone when the task completed, kVerdictNegative when it paused, kFailed when it was aborted.
  int run();

 private:
  struct Mine {
    bool running{false};
    std::optional<int> exit;
    Duration told{0};  ///< When the cluster last heard of it.
  };
  Result<proto::TaskStatus> look();
  void show(const proto::TaskStatus& task, const lifecycle::RollingRecord& record);
  void drive(const lifecycle::RollingRecord& record);
  void drive_node(const lifecycle::RollingRecord& record, const lifecycle::RollingRecord::Node& node);
  bool busy() const { return !mine_.empty(); }
  int over(const proto::TaskStatus& task);
  void lost(const Error& why);
  int fail(const Error& why);

  const RollingFollowOptions options_;
  const RollingFollowPorts ports_;
  RollingProgress progress_;
  std::map<NodeId, Mine> mine_;
  std::uint64_t beat_{0};
  std::map<NodeId, Duration> claimed_;  ///< Waits for the leader frontend to let it begin.
  std::string last_;
  bool lost_{false}, leaving_{false};
};

}  // namespace outlast::cli
