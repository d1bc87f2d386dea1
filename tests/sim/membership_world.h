#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "lifecycle/decommission.h"
#include "placement/planner.h"

namespace outlast::sim {

/// Bugs of the world around a decommission that the simulator plants; those of the decisions are in their own classes.
struct MembershipWorldBugs {
  bool office_not_compared{false};   ///< A deposed leader frontend goes on writing, whatever was written since.
  bool deletion_not_awaited{false};  ///< A replica that left counts as gone before its data is.
  bool wish_not_recorded{false};     ///< A recommission is told to the leader frontend and not written down.
};

/// What is true in a cluster whose nodes leave: nodes and their disks, range records, memberships, one task. Everybody
/// else sees copies of it. Steps that the product's leaseholders and metadata store take are taken here with their
/// preconditions. Counts time in ticks of half a second.
class MembershipWorld {
 public:
  static constexpr Duration kTick = std::chrono::milliseconds(500);
  static constexpr int kSilentTicks = 40;  ///< server.time_until_store_dead of this world: 20 s.
  static constexpr int kFenceTicks = 6;    ///< Observer time.

  struct Node {
    placement::NodeView view;  ///< Health as a reader of fresh metadata sees it.
    bool up{true};
    bool cut{false};   ///< Runs, and reaches nobody.
    bool gone{false};  ///< Never comes back.
    int silent_ticks{0}, back_in{0};
    std::uint64_t rate{0};  ///< Bytes it takes in a tick.
    bool disk_full{false};
    std::uint64_t tasks{0}, buffers{0};
    bool drained{false};
    int drain_stuck{0};       ///< Ticks until its last transaction ends.
    std::uint64_t stored{0};  ///< Bytes of replicas on its disk.
    bool fenced() const { return silent_ticks > kFenceTicks; }
    bool reachable() const { return up && !cut; }
  };
  struct Stored {
    NodeId node;
    std::uint64_t bytes{0};
    int deletes_in{-1};  ///< Ticks until its data is deleted; -1: kept.
  };
  struct Range {
    placement::RangeView view;
    std::vector<Stored> stored;
    int leaderless{0};
    Stored* on(NodeId node);
  };

  MembershipWorld(Random& random, std::uint32_t nodes, std::uint32_t ranges, MembershipWorldBugs bugs);

  void tick();
  placement::ClusterView view() const;
  Node* find(NodeId id);
  /// What no view says of a node.
  lifecycle::LeavingNode facts(NodeId id);
  std::uint64_t replicas_on(NodeId id) const;  ///< As the index of replicas counts them.
  void add_node(std::uint64_t free_bytes, const placement::Locality& where);

  /// A leaseholder takes a step, with the preconditions of protocol A3.
  Result<void> take(const placement::Step& step);
  /// The metadata store: the change is made if the office and the task's version are still the caller's.
  Result<void> order(const lifecycle::DecommissionOrder& order, std::uint64_t office, std::uint64_t version);
  Result<void> begin(lifecycle::DecommissionRecord record);
  Result<void> wish(std::span<const NodeId> nodes, bool leave);
  lifecycle::DecommissionRecord task() const;

  void crash(Node& node, int back_in);
  void cut(Node& node, int back_in);
  void heal();

  std::vector<Node> nodes;
  std::vector<Range> ranges;  ///< Range i has the id i + 1.
  std::string task_text;      ///< Empty: none yet.
  std::uint64_t office{1};
  std::string violation;        ///< The first.
  std::map<NodeId, bool> told;  ///< What operators were last told that they asked for: leave, or stay.
  int faults{0};

 private:
  void tick_node(Node& node);
  void tick_range(Range& range);
  void copy(Range& range);
  void put(Range& range, placement::RangeConfig next);
  Result<void> finish(Node& node);
  void check(const Range& range, const placement::RangeConfig& before);
  void fail(const std::string& what) {
    if (violation.empty()) violation = what;
  }
  void drop_stored(Range& range, NodeId node);

  Random& random_;
  const MembershipWorldBugs bugs_;
};

}  // namespace outlast::sim
