#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "lifecycle/felt.h"

namespace outlast::lifecycle {

/// How a rolling restart was asked for.
struct RollingOptions {
  std::uint32_t batch{0};   ///< Nodes at once at most; 0 = auto: what is safe, and no more than a quarter of the nodes.
  std::string command;      ///< Runs for each node where the command line is attached; empty: zero-downtime restarts.
  double max_p99_ratio{2};  ///< p99 may be so many times the baseline's,
  std::uint32_t windows{3};  ///< and after so many windows in a row above that the task pauses.
  Duration window{std::chrono::seconds(10)};
  friend bool operator==(const RollingOptions&, const RollingOptions&) = default;
};

/// One window; its errors are the cluster's fault, not the statement's.
struct RollingWindow : Felt {
  bool worse{false};  ///< Than the baseline, beyond what is allowed.
  friend bool operator==(const RollingWindow&, const RollingWindow&) = default;
};

/// Where a node is in it.
enum class RollingStep : std::uint8_t {
  kPending,
  kDraining,    ///< With a command only: a zero-downtime restart hands leases and sessions over by itself.
  kCommand,     ///< Drained: waits for an attached command line.
  kRunning,     ///< The command runs.
  kRestarting,  ///< The zero-downtime restart is asked for or under way.
  kReturning,   ///< Replaced: until it is live, caught up and has its leases back.
  kBackingOut,  ///< Paused or aborted before it was restarted: undrained, then pending again.
  kFailed,      ///< The task pauses; resume tries it again.
  kDone,
  kSkipped,  ///< It left the cluster.
};
std::string_view to_string(RollingStep step);

/// The body of a task "rolling-restart": everything that another leader frontend needs to go on. Changed only by
/// compare-and-swap.
struct RollingRecord {
  /// Who runs a command; `beat` changes while it is alive.
  struct Claim {
    std::string token;
    std::uint64_t beat{0};
    friend bool operator==(const Claim&, const Claim&) = default;
  };
  struct Node {
    NodeId node;
    RollingStep step{RollingStep::kPending};
    std::uint32_t batch{0};              ///< 0 = none yet.
    Incarnation before;                  ///< The process that is to be replaced.
    std::uint64_t restart{0};            ///< Its run, as its supervisor counts; 0 = not asked for yet.
    std::uint64_t leases{0}, insync{0};  ///< It had so many when its turn began.
    std::optional<Claim> claim;
    std::int64_t began_micros{0}, ended_micros{0};  ///< Wall clock, for display.
    std::string note;  ///< A sentence: why it failed or was skipped, what was not waited for.
    friend bool operator==(const Node&, const Node&) = default;
    /// Its turn is on: neither before nor after it.
    bool under_way() const;
  };
  std::uint64_t version{1};
  RollingOptions options;
  std::vector<Node> nodes;
  std::uint32_t batches{0};  ///< Begun so far.
  std::optional<RollingWindow> baseline;
  std::vector<RollingWindow> windows;  ///< The last kWindowsKept.
  std::uint32_t worse_in_a_row{0};
  double worst_p99_ms{0}, errors{0};  ///< Of all windows after the baseline.
  std::string paused_why;             ///< The task paused by itself; empty: it did not.
  bool aborted{false};                ///< An operator's wish: back out and end.
  friend bool operator==(const RollingRecord&, const RollingRecord&) = default;

  static constexpr std::size_t kWindowsKept = 12;
  Node* find(NodeId node);
  const Node* find(NodeId node) const;
  bool over() const;  ///< Every node is done or skipped.
};

/// JSON text; unknown fields of a newer version are ignored.
std::string encode(const RollingRecord& record);
Result<RollingRecord> decode_rolling_record(std::string_view text);

/// An operator's wish: nodes that are being restarted come back first, others keep their process. Repeating it changes
/// nothing. Takes and returns the record's text.
Result<std::string> ask_to_abort(std::string_view body);

// What attached command lines write. Each returns the next record; repeating it changes nothing.

/// `token` wants to run the command for this node, or is still at it (another `beat`). It may begin when the step is
/// kRunning with its token. kInvalidState: the node does not wait for a command, or another one has it.
Result<RollingRecord> claim_command(const RollingRecord& now, NodeId node, const std::string& token,
                                    std::uint64_t beat);
/// The command ended. kInvalidState: the claim is lost; whoever has it now runs the command again.
Result<RollingRecord> report_command(const RollingRecord& now, NodeId node, const std::string& token, int exit,
                                     const std::string& last_words);

}  // namespace outlast::lifecycle
