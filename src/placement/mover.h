#pragma once
#include <map>

#include "placement/moves.h"
#include "placement/planner.h"

namespace outlast::placement {
struct Standing;

struct MoverLimits {
  std::size_t at_once{64};                            ///< Replicas being built for leaving nodes.
  Duration patience{std::chrono::seconds(4)};         ///< Without a byte: another target, then another source.
  Duration answer_limit{std::chrono::seconds(15)};    ///< A step that was not answered counts as failed.
  Duration rest{std::chrono::seconds(1)};             ///< Of a range after a step that no view shows.
  Duration first_rest{std::chrono::milliseconds(5)};  ///< After a refused step; then doubled, up to `rest`.
  Duration avoid{std::chrono::seconds(30)};           ///< Of a target for a range that it failed.
};

/// How far the leaving nodes are emptied, as of one view.
struct MoveState {
  struct Left {
    NodeId node;
    std::uint64_t replicas{0}, bytes{0}, leases{0};  ///< In sync, learners, and removed but not deleted.
  };
  struct Target {
    NodeId node;
    std::uint64_t bytes_left{0};  ///< Of what is being built there.
  };
  std::vector<Left> nodes;  ///< One for each leaving node.
  std::uint64_t replicas_left{0};
  std::uint64_t bytes_left{0};    ///< To be copied before they can all leave.
  std::uint64_t largest_left{0};  ///< Of one replica.
  std::size_t under_way{0};
  std::vector<Target> targets;
  std::vector<Target> senders;          ///< What each leaseholder has to send, begun or not.
  std::vector<BlockedReplica> waiting;  ///< Every replica that no step is asked for, and why; deletions too.
  std::optional<Instant> ask_again;     ///< When the first of the refused ranges has rested.
};

/// Takes the replicas of a set of leaving nodes elsewhere, all nodes at once: learner, in sync, lease away, old one
/// out. Asked again and again with fresh views. A replica leaves only when as many in-sync members that answer stay as
/// the range should have, so that no range is ever worse off than before its move. One step of a range at a time. What
/// must outlive this process is in the range records; this remembers only what failed, to try another way.
/// Thread-safety: none.
class Mover {
 public:
  /// Bugs that tests plant to see that they are found.
  struct PlantedBugs {
    TargetBugs targets;
    bool learners_count{false};    ///< A replica leaves when its successor is a learner.
    bool deletion_ignored{false};  ///< A replica that left counts as gone before its data is.
    bool reduces_freely{false};    ///< The replication factor is reduced to what is there.
  };
  explicit Mover(TargetRules rules, MoverLimits limits = {}) : Mover(rules, limits, PlantedBugs()) {}
  Mover(TargetRules rules, MoverLimits limits, PlantedBugs bugs) : rules_(rules), limits_(limits), bugs_(bugs) {}

  /// `others`: nodes that leave by other movers' doing. They are no place to go to and do not count as staying, and
  /// what is on them alone is not this mover's business.
  std::vector<Step> next(Instant now, const ClusterView& view, std::span<const NodeId> leaving, Random& random,
                         std::span<const NodeId> others = {});
  /// From the next plan on.
  void set_rules(TargetRules rules) { rules_ = rules; }
  void answered(const Step& step, const Result<void>& result, Instant now);
  /// Nothing has moved for a while: what is slow is given up sooner, what was refused is tried again.
  void try_another_way() { impatient_ = true; }
  const MoveState& state() const { return state_; }

 private:
  struct Asked {
    Step step;
    Instant at;
    std::uint64_t bytes{0};
    ConfigVersion cfg;  ///< Of the range when it was asked.
    bool taken{false};  ///< And the view may not show it yet.
  };
  struct Watch {  ///< Of a learner.
    NodeId node;
    Epoch epoch;  ///< Another leaseholder begins anew.
    std::uint64_t missing{0};
    Instant since;
    int tries{0};
  };
  struct Refusal {
    Instant until;
    std::string why;
    int times{0};  ///< One after the other.
  };
  struct Round;  ///< What one call of next() works with.

  void refused(const Step& step, Instant now, const std::string& why);
  void forget_old(Instant now);
  void forget_shown(const ClusterView& view);
  void reserve_asked(Round& round);
  bool account(Round& round, const RangeView& range);
  void consider(Round& round, const RangeView& range);
  bool clear_learners(Round& round, const RangeView& range, const Standing& standing);
  bool replace_slow(Round& round, const RangeView& range, const Standing& standing);
  void add(Round& round, const RangeView& range, const Standing& standing);
  void leave(Round& round, const RangeView& range, const Standing& standing, int rf);
  std::optional<NodeId> target(Round& round, const RangeView& range, const Standing& standing, bool any) const;
  void take(Round& round, const RangeView& range, Step::Kind kind, NodeId node, int rf);
  void wait(const RangeView& range, const Standing& standing, BlockReason reason, const std::string& why);

  TargetRules rules_;
  const MoverLimits limits_;
  const PlantedBugs bugs_;
  std::map<RangeId, Asked> asked_;
  std::map<RangeId, Watch> watched_;
  std::map<RangeId, Refusal> refused_;
  std::map<std::pair<RangeId, NodeId>, Instant> avoided_;
  bool impatient_{false};
  MoveState state_;
};

}  // namespace outlast::placement
