#pragma once
#include <functional>
#include <map>
#include <set>

#include "lifecycle/rolling_record.h"

namespace outlast::lifecycle {

/// A node of the rolling restart, as the caller sees it at one instant.
struct RollingNode {
  NodeId node;
  bool member{true};  ///< Active: it neither leaves the cluster nor has left.
  bool live{false};
  Incarnation incarnation;  ///< Of its live process.
  bool leader{false};       ///< It is the leader frontend.
  bool draining{false}, drained{false};
  std::string blocker;  ///< In words: what its drain or its restart waits for now.
  std::uint64_t leases{0}, insync{0}, learners{0};
  std::int64_t expected_until_micros{0};  ///< Wall clock: it is in maintenance until then; 0: it is not.
  /// The last restart that its supervisor finished, as its present process knows it.
  struct Receipt {
    std::uint64_t id{0};
    bool succeeded{false};
    std::string why;
  } receipt;
};

/// Which of these nodes may be replaced together now.
struct RollingChoice {
  std::vector<NodeId> nodes;
  NodeId alone;     ///< None may stop, but this one may be replaced by a zero-downtime restart, with nobody beside it.
  std::string why;  ///< A sentence: why not more.
};

struct RollingView {
  bool metadata{true};  ///< It answers.
  bool paused{false};   ///< The task is.
  std::int64_t wall_micros{0};
  std::vector<RollingNode> nodes;
  std::uint64_t live_nodes{0}, leases{0};  ///< Of the whole cluster.
  StatementCounts statements;              ///< Of all gateways since the caller began to count.
  /// At most `max` of `candidates`, while `absent` are taken for stopped.
  std::function<RollingChoice(std::vector<NodeId> candidates, std::vector<NodeId> absent, std::size_t max)> choose;
};

struct RollingOrder {
  enum class Kind : std::uint8_t { kDrain, kUndrain, kRestart, kExpect } kind{Kind::kDrain};
  NodeId node;
  Incarnation incarnation;  ///< Of the process that is meant.
  friend auto operator<=>(const RollingOrder&, const RollingOrder&) = default;
};

enum class RollingStage : std::uint8_t {
  kBaseline,
  kWaiting,
  kDraining,
  kCommand,
  kRestarting,
  kReturning,
  kComparing,
  kBackingOut,
  kPaused,
  kOver
};
std::string_view to_string(RollingStage stage);

/// Replaces the processes of a cluster batch by batch: baseline; then for each batch drain and command, or
/// zero-downtime restart; until it is back, caught up and has its leases; compare; next. Every order follows from the
/// record and what is seen now, so that another leader frontend goes on from the record alone, at whatever step. The
/// leader frontend's own node comes last. Thread-safety: none. Reads no clock: `now` must not go back.
class RollingMachine {
 public:
  static constexpr Duration kClaimLimit = std::chrono::seconds(15);    ///< A silent command line loses its claim.
  static constexpr Duration kReturnLimit = std::chrono::minutes(5);    ///< A process that is not there by then failed.
  static constexpr Duration kLeasesLimit = std::chrono::minutes(1);    ///< Leases are waited for no longer.
  static constexpr Duration kReplaceLimit = std::chrono::seconds(30);  ///< After a command that left the process alone.
  static constexpr Duration kAway = std::chrono::minutes(10);  ///< In maintenance, again and again while it is away.
  static constexpr Duration kAnswerLimit = std::chrono::seconds(10);
  static constexpr Duration kRest = std::chrono::seconds(1);  ///< Of an order that was refused.
  static constexpr double kTooFew = 50;                       ///< Statements in a window: nothing is compared then.
  static constexpr double kLeastMs = 1;                       ///< A p99 must be worse by so much, too.
  static constexpr double kErrorShare = 1e-3;                 ///< Of statements more than in the baseline.

  /// Bugs that tests plant to see that they are found.
  struct PlantedBugs {
    bool unsafe_restart{false};  ///< A restart that was decided before is asked for without another look.
    bool no_catch_up{false};     ///< A node is done as soon as it is live.
  };
  explicit RollingMachine(RollingRecord record) : RollingMachine(std::move(record), PlantedBugs()) {}
  RollingMachine(RollingRecord record, PlantedBugs bugs);

  struct Todo {
    enum class End : std::uint8_t { kNone, kPause, kCompleted, kAborted } end{End::kNone};
    std::optional<RollingRecord> write;  ///< To be stored, with `end`, if the present one is still there.
    std::vector<RollingOrder> orders;
  };
  Todo advance(Instant now, const RollingView& view);
  /// Of kRestart: the id of the run.
  void answered(const RollingOrder& order, const Result<std::uint64_t>& result, Instant now);
  /// The record was changed, by this task or by somebody else.
  void replace(RollingRecord record) { record_ = std::move(record); }
  const RollingRecord& record() const { return record_; }
  RollingStage stage() const { return stage_; }
  /// What it waits for now, in a sentence; empty: nothing.
  const std::string& waiting() const { return waiting_; }
  /// Nodes of one batch at most.
  static std::size_t at_once(const RollingOptions& options, std::size_t live_nodes);
  /// How it ended, for people.
  static std::string outcome(const RollingRecord& record);

 private:
  using Node = RollingRecord::Node;
  bool halting(const RollingView& view) const { return view.paused || record_.aborted; }
  void measure(Instant now, const RollingView& view, RollingRecord& next);
  bool is_worse(const RollingWindow& window, const RollingWindow& baseline) const;
  void retry(const RollingView& view, RollingRecord& next);
  void step(Instant now, const RollingView& view, const RollingNode& seen, Node& node, Todo& todo);
  void step_command(Instant now, const RollingView& view, const RollingNode& seen, Node& node, Todo& todo);
  void step_running(Instant now, const RollingView& view, const RollingNode& seen, Node& node, Todo& todo);
  void step_restarting(Instant now, const RollingView& view, const RollingNode& seen, Node& node, Todo& todo);
  void step_returning(Instant now, const RollingNode& seen, const RollingView& view, Node& node, Todo& todo);
  static std::uint64_t wanted_leases(const RollingView& view, const Node& node);
  static std::string not_back(Duration waited, const RollingView& view, const RollingNode& seen, const Node& node);
  bool may_go(const RollingView& view, const Node& node);
  void begin_batch(const RollingView& view, RollingRecord& next);
  static void begin_turn(const RollingView& view, const RollingRecord& next, Node& node);
  void order(Instant now, RollingOrder wanted, Todo& todo);
  void expect_back(Instant now, const RollingView& view, const RollingNode& seen, const Node& node, Todo& todo);
  Duration since(Instant now, const Node& node) const;
  bool claim_is_stale(Instant now, const Node& node);
  void wait_for(NodeId node, const std::string& what);
  static std::string pause_reason(const RollingRecord& record);
  void conclude(const RollingView& view, RollingRecord& next, Todo& todo);
  static RollingStage stage_of(const RollingRecord& record, const RollingView& view);

  RollingRecord record_;
  const PlantedBugs bugs_;
  std::map<NodeId, std::pair<RollingStep, Instant>> entered_;  ///< When a step was first seen.
  std::map<NodeId, std::pair<RollingRecord::Claim, Instant>> beats_;
  std::map<RollingOrder, Instant> quiet_until_;  ///< Ordered, or refused a moment ago.
  std::set<NodeId> asked_;                       ///< To restart, in the step that they are in.
  std::map<NodeId, std::uint64_t> restarts_;     ///< Runs that were answered and are not in the record yet.
  std::map<NodeId, std::string> refusals_;
  std::optional<std::pair<Instant, StatementCounts>> window_;  ///< Where the present one began.
  bool settled_{true};                                         ///< A whole window after the last batch was good.
  bool window_is_clean_{true};                                 ///< No batch was under way in any part of it.
  RollingStage stage_{RollingStage::kWaiting};
  std::string waiting_;
};

}  // namespace outlast::lifecycle
