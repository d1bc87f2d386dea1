#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "proto/peer.pb.h"

namespace outlast::cli {

enum class RollingKind : std::uint8_t {
  kZeroDowntime,  ///< Working processes are replaced; clients stay connected.
  kCommand,       ///< Each node is drained, then a command stops it and it is started again.
};
const char* to_string(RollingKind kind);

/// The processes of one node: its supervisor, and its worker.
struct NodeProcesses {
  std::int64_t supervisor{0}, worker{0};
  friend bool operator==(const NodeProcesses&, const NodeProcesses&) = default;
};

/// One restart of the whole cluster. Times count since the load began.
struct RollingTurn {
  RollingKind kind{RollingKind::kZeroDowntime};
  Duration asked{0};
  std::optional<Duration> over;
  std::optional<int> exit_code;  ///< Of the command line.
  int nodes{0}, replaced{0};     ///< Those whose processes are others now, as this kind of restart has to make them.
  proto::TaskStatus receipt;     ///< The task at last.
};

/// Restarts the whole cluster by `cluster rolling-restart`, again and again until `end`, once with a command and else
/// without downtime: the next time when the last one's task is over and every replica is in sync. Never blocks for
/// long; what hangs ends the rounds with a sentence. Pure but for its ports. Thread-safety: none.
class RollingRounds {
 public:
  struct Ports {
    std::function<Result<void>(RollingKind)> start;   ///< Of the command line.
    std::function<std::optional<int>()> exit_code;    ///< Empty while it runs.
    std::function<Result<proto::TaskStatus>()> task;  ///< The newest of this kind.
    std::function<std::vector<NodeProcesses>()> processes;
    std::function<bool()> healed;
    std::function<void(const std::string&)> say;
  };
  RollingRounds(Duration end, Ports ports);
  void step(Duration now);
  /// Nothing more will happen: the time is over and the last turn too, or trouble() says why not.
  bool finished() const { return phase_ == Phase::kOver; }
  const std::string& trouble() const { return trouble_; }
  const std::vector<RollingTurn>& turns() const { return turns_; }

 private:
  enum class Phase : std::uint8_t { kResting, kRestarting, kHealing, kOver };
  void enter(Phase next, Duration now);
  void fail(const std::string& why);
  void begin(Duration now);
  void look(Duration now);
  int replaced(RollingKind kind, const std::vector<NodeProcesses>& now) const;

  const Duration end_;
  const Ports ports_;
  Phase phase_{Phase::kResting};
  Duration since_{0};
  std::vector<NodeProcesses> before_;
  std::vector<RollingTurn> turns_;
  std::string trouble_;
};

}  // namespace outlast::cli
