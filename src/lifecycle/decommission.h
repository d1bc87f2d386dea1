#pragma once
#include <map>
#include <optional>

#include "lifecycle/decommission_record.h"
#include "lifecycle/pace.h"

namespace outlast::lifecycle {

/// What is known of one node of the task, counted by the caller at one instant.
struct LeavingNode {
  enum class Presence : std::uint8_t { kLive, kSilent, kDead };
  NodeId node;
  bool decommissioning{false}, decommissioned{false};  ///< Its membership as stored.
  Presence presence{Presence::kLive};
  bool fenced{false};         ///< Dead, and every incarnation of it is fenced.
  std::uint64_t replicas{0};  ///< In sync, learners, and removed but not deleted; a dead node deletes nothing.
  std::uint64_t bytes{0}, leases{0}, tasks{0};
  std::uint64_t buffers{0};  ///< Bytes in ingest buffers that are not flushed; what is known of a dead node.
  bool draining{false}, drained{false};
  std::string drain_blocker;                     ///< In words, while it drains.
  bool last_frontend{false}, last_input{false};  ///< Nobody that stays is one.
};

/// What stops the whole task, or one range of it.
enum class StallReason : std::uint8_t {
  kNone,
  kMetadata,  ///< The metadata store does not answer, or refuses every change.
  kNotEnoughNodes,
  kDiskSpace,
  kFailureDomain,
  kUnavailable,
  kNoLeaseholder,
  kRefused,
  kCopying,  ///< A copy is under way and no byte arrives, whichever nodes are tried.
  kQueued,
  kSilentMember,
  kDeletion,
  kReplicas,  ///< Some are left, and nobody says why.
  kLeases,
  kTasks,
  kBuffers,
  kDrain,
  kSilentNode,  ///< A leaving node does not answer, and is not dead for long enough to be done without.
  kNotFenced,   ///< A dead node's incarnations are not fenced yet.
  kLastFrontend,
  kLastInput,
};
std::string_view to_string(StallReason reason);

/// Ranges that wait for the same.
struct Obstacle {
  StallReason reason{StallReason::kNone};
  std::string why;  ///< A sentence.
  std::vector<RangeId> ranges;
};

/// What the caller knows beside the nodes.
struct DecommissionView {
  std::vector<LeavingNode> nodes;
  CopyLoad copy;
  std::vector<Obstacle> obstacles;  ///< Of ranges.
  bool metadata{true};              ///< It answers.
};

/// Everything that the final transaction of a node has to find, in the order in which it is told. kNone: it may be
/// decommissioned. A view alone proves nothing: the transaction compares the node's membership, its index of replicas,
/// the tasks' owners, this task's record and office, and the drain record of its incarnation; in absentia the fences of
/// all its incarnations instead.
StallReason before_final(const LeavingNode& node);

struct DecommissionOrder {
  enum class Kind : std::uint8_t {
    kMark,    ///< Active to decommissioning.
    kDrain,   ///< The node's own drain; it looks at its own membership first.
    kFinish,  ///< The final transaction: decommissioned, or refused with what is left.
    kUnmark,  ///< Decommissioning to active.
    kUndrain,
    kSettle,  ///< The node's outcome into the record.
  } kind{Kind::kMark};
  NodeId node;
  friend auto operator<=>(const DecommissionOrder&, const DecommissionOrder&) = default;
};
std::string_view to_string(DecommissionOrder::Kind kind);

/// Of a node, and of the task: that of its slowest node.
enum class DecommissionStage : std::uint8_t { kMarking, kMoving, kDraining, kFinishing, kReturning, kSettled };
std::string_view to_string(DecommissionStage stage);

struct DecommissionProgress {
  struct Node {
    NodeId node;
    DecommissionStage stage{DecommissionStage::kMarking};
    std::uint64_t replicas{0}, bytes{0};
  };
  std::vector<Node> nodes;
  DecommissionStage stage{DecommissionStage::kSettled};
  std::uint64_t replicas_left{0}, bytes_left{0}, bytes_at_start{0};
  Estimate estimate;
  Obstacle stall;  ///< kNone while something moves.
};

/// Takes the nodes of one task out of the cluster: mark, move everything off all of them at once, drain, check, final.
/// Every order follows from what is seen now and what the record wants, never from what was ordered before, so that
/// another leader frontend goes on from the record alone, and a wish changed at any step is followed from that step.
/// Thread-safety: none. Reads no clock: `now` must not go back.
class DecommissionMachine {
 public:
  static constexpr Duration kRetry = std::chrono::seconds(4);  ///< Without progress: try another way,
  static constexpr Duration kStall = std::chrono::seconds(8);  ///< and name the stall, which is promised within 10 s.
  static constexpr Duration kAnswerLimit = std::chrono::seconds(5);
  static constexpr Duration kNoCopy = std::chrono::seconds(2);  ///< Without progress and a byte to copy: no estimate.
  static constexpr Duration kRest = std::chrono::seconds(1);    ///< Of an order that was refused.

  /// Bugs that tests plant to see that they are found.
  struct PlantedBugs {
    bool final_without_buffers{false};  ///< Buffers and tasks are not looked at.
    bool silent_is_dead{false};         ///< A node that is merely silent is finished in absentia.
    bool wish_ignored{false};           ///< A node that drains is not let back.
    bool retry_is_progress{false};      ///< Trying another way starts the stall's time anew.
  };
  explicit DecommissionMachine(DecommissionRecord record) : DecommissionMachine(std::move(record), PlantedBugs()) {}
  DecommissionMachine(DecommissionRecord record, PlantedBugs bugs) : record_(std::move(record)), bugs_(bugs) {}

  /// Somebody changed the record: an operator, or this task.
  void replace(DecommissionRecord record) { record_ = std::move(record); }
  const DecommissionRecord& record() const { return record_; }

  /// Nodes whose replicas and leases are to leave now.
  std::vector<NodeId> leaving(const DecommissionView& view) const;
  /// What to do now. Orders under way are not repeated until they are answered or kAnswerLimit has passed.
  std::vector<DecommissionOrder> advance(Instant now, const DecommissionView& view);
  void answered(const DecommissionOrder& order, const Result<void>& result, Instant now);
  /// Asked once after each advance(): nothing moves, so the mover should try another way.
  bool should_try_another_way();
  const DecommissionProgress& progress() const { return progress_; }
  /// The record after kSettle of this node.
  static DecommissionRecord settled(const DecommissionRecord& now, const LeavingNode& node);

 private:
  DecommissionStage stage_of(const DecommissionRecord::Node& wanted, const LeavingNode& seen) const;
  std::optional<DecommissionOrder> order_for(const DecommissionRecord::Node& wanted, const LeavingNode& seen) const;
  StallReason obstacle_of(const LeavingNode& seen) const;
  void measure(Instant now, const DecommissionView& view);
  bool waits_for_silent_node(const DecommissionView& view) const;
  void judge_stall(Instant now, const DecommissionView& view);

  struct Mark {  ///< How far the task is; any change to the better is progress.
    int stages{0};
    std::uint64_t replicas{0}, bytes{0}, rest{0};
  };
  DecommissionRecord record_;
  const PlantedBugs bugs_;
  std::map<DecommissionOrder, Instant> quiet_until_;  ///< Ordered, or refused a moment ago.
  std::string last_refusal_;
  std::uint64_t seen_version_{0};
  Pace pace_;
  std::optional<Mark> best_;
  Instant moved_{};  ///< When something last moved.
  Instant tried_{};
  bool try_another_way_{false}, tried_since_{false};
  DecommissionProgress progress_;
};

}  // namespace outlast::lifecycle
