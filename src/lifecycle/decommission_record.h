#pragma once
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace outlast::lifecycle {

/// The task of taking nodes out of the cluster, /tasks/<id> in the metadata store: changed only by compare-and-swap, by
/// the leader frontend and, for their wishes, by operators. With the memberships and the range records it is everything
/// that another leader frontend needs to go on.
struct DecommissionRecord {
  /// What is wanted of a node, and what came of it.
  struct Node {
    NodeId node;
    bool leave{true};         ///< False: recommissioned before it was final.
    bool settled{false};      ///< Decommissioned, or active again: this task is done with it.
    bool in_absentia{false};  ///< It was dead when it was decommissioned; unflushed buffers are possibly lost,
    std::uint64_t possible_loss_bytes{0};  ///< ... so many when it was last heard of.
    std::uint64_t replicas_at_start{0}, bytes_at_start{0};
    friend bool operator==(const Node&, const Node&) = default;
  };
  std::uint64_t task{0};
  std::uint64_t version{1};        ///< +1 on every change.
  NodeId requested_by;             ///< The node that took the operator's command, for the events.
  std::int64_t started_micros{0};  ///< Wall clock, for display.
  std::string checks{"enabled"};   ///< What the pre-flight was.
  std::vector<Node> nodes;
  friend bool operator==(const DecommissionRecord&, const DecommissionRecord&) = default;

  Node* find(NodeId node);
  const Node* find(NodeId node) const;
  bool over() const;  ///< Every node is settled.
};

/// Operators' wishes: each returns the next record, to be written if the present one is still there. Repeating a wish
/// changes nothing. kInvalidState for a node that is settled: a decommissioned node is so for good, and for one that is
/// active again a new task begins. kNotFound for a node that is not in the task. The caller's transaction compares the
/// memberships too: a node may be decommissioned an instant before the record says so.
Result<DecommissionRecord> ask_to_leave(const DecommissionRecord& now, std::span<const NodeId> nodes);
Result<DecommissionRecord> ask_to_stay(const DecommissionRecord& now, std::span<const NodeId> nodes);

/// JSON text; unknown fields of a newer version are ignored.
std::string encode(const DecommissionRecord& record);
Result<DecommissionRecord> decode_decommission_record(std::string_view text);

}  // namespace outlast::lifecycle
