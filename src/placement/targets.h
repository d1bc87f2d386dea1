#pragma once
#include <functional>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/loop.h"
#include "placement/view.h"

namespace outlast::placement {

/// Setting kv.allocator.recovery_store_selector. Both choose only among nodes that are as far from the range's other
/// replicas as any.
enum class Selector : std::uint8_t {
  kGood,  ///< A random one.
  kBest,  ///< The one with the fewest replicas.
  kRoom,  ///< The one with the most free space; no setting, but what a plan tries last.
};
/// kInvalidArgument for anything but "good" and "best".
Result<Selector> parse_selector(std::string_view text);

struct TargetRules {
  Selector selector{Selector::kGood};
  double disk_free{0.05};     ///< Share of a disk that replicas leave free.
  bool keep_domains{false};   ///< A range never loses a failure domain by a move.
  std::size_t per_target{0};  ///< Replicas being built on one node at once; 0 = no limit.
};

/// Bugs that tests plant in the choice of targets to see that they are found.
struct TargetBugs {
  bool draining_accepted{false};  ///< A draining node takes replicas.
  bool moves_not_counted{false};  ///< What is under way to a disk takes no space there.
};

/// Which nodes may take replicas, and what they have promised already. Reads the view once, in time linear in its nodes
/// and replicas; a choice then takes time linear in the nodes, never in the ranges. Nodes in `leaving` take nothing.
/// Space on a disk is what is available there less what replicas under construction still need and what was reserved.
/// Thread-safety: none. Lifetime: the view outlives it.
class Targets {
 public:
  Targets(const ClusterView& view, std::span<const NodeId> leaving, TargetRules rules, TargetBugs bugs = {});

  using Accepts = std::function<bool(NodeId)>;
  /// A node for one more replica of the range, in place of the one on `replaced`, beside those on `others`; none when
  /// no node can. `accepts` may refuse further ones. Random for kGood.
  std::optional<NodeId> choose(const RangeView& range, NodeId replaced, std::span<const NodeId> others, Random& random,
                               const Accepts& accepts = {}) const;
  /// How far a node is from others: the sum of the distances of their localities. Higher is safer.
  int apart(NodeId id, std::span<const NodeId> others) const;
  /// The highest apart() that any node which takes replicas could have; linear in the failure domains.
  int farthest(std::span<const NodeId> others) const;
  /// A replica of so many bytes will be built there.
  void reserve(NodeId node, std::uint64_t bytes);
  void release(NodeId node, std::uint64_t bytes);

  /// Why no node can: how many there are, and what each lacks.
  struct Shortage {
    int live{0};      ///< Live and not leaving.
    int taken{0};     ///< Of these: have a replica of the range.
    int no_space{0};  ///< Could take it but for its bytes.
    int domain{0};    ///< Could take it, but the range would lose a failure domain.
    int resting{0};   ///< Draining, or on a disk that failed.
    friend bool operator==(const Shortage&, const Shortage&) = default;
  };
  Shortage shortage(const RangeView& range, NodeId replaced, std::span<const NodeId> others) const;

  const NodeView* find(NodeId id) const;
  bool leaving(NodeId id) const;
  /// Nodes that belong to the cluster after the leaving ones have left.
  int staying() const { return staying_; }
  /// Replicas and leases on a node, reserved ones included.
  int replicas(NodeId id) const;
  int leases(NodeId id) const;
  int building(NodeId id) const;
  void move_lease(NodeId from, NodeId to);
  std::optional<std::uint64_t> room(NodeId id) const;  ///< Bytes that may still be placed there; none: not known.

 private:
  struct Entry {
    const NodeView* node{nullptr};
    std::size_t domain{0};
    bool leaves{false}, takes{false};
    int replicas{0}, leases{0}, building{0};
    std::uint64_t reserved{0};
  };
  const Entry* entry(NodeId id) const;
  Entry* entry(NodeId id);
  bool fits(const Entry& entry, std::uint64_t bytes) const;
  int apart(std::size_t domain, std::span<const NodeId> others) const;
  bool loses_domain(std::size_t domain, NodeId replaced, std::span<const NodeId> others) const;
  void index_domains();

  const TargetRules rules_;
  const TargetBugs bugs_;
  std::vector<Entry> entries_;
  std::unordered_map<NodeId, std::size_t> at_;
  std::vector<std::vector<std::size_t>> domains_;  ///< Entries that take replicas, by failure domain.
  std::vector<std::vector<std::uint8_t>> apart_;   ///< Distances between domains.
  int staying_{0};
};

}  // namespace outlast::placement
