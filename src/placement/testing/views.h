#pragma once
#include <initializer_list>
#include <string>

#include "placement/view.h"

namespace outlast::placement::testing {

inline NodeView node_at(std::uint32_t id, const char* locality = "", Disk disk = {}) {
  NodeView node;
  node.id = NodeId(id);
  node.store_uuid = "s" + std::to_string(id);
  node.locality = parse_locality(locality).value();
  node.disk = disk;
  return node;
}

/// A range with in-sync replicas on these nodes; the first leads.
inline RangeView range_on(std::uint64_t id, std::initializer_list<std::uint32_t> nodes, std::uint64_t bytes = 0) {
  RangeConfig config = create_range(RangeId(id), DatabaseId(id), NodeId(*nodes.begin()),
                                    "s" + std::to_string(*nodes.begin()), Incarnation(1));
  for (const std::uint32_t each : nodes) {
    if (each == *nodes.begin()) continue;
    config = add_learner(config, NodeId(each), "s" + std::to_string(each)).value();
    config = promote_learner(config, NodeId(each), "s" + std::to_string(each), static_cast<int>(nodes.size())).value();
  }
  return {config, bytes};
}

/// Nodes 1 to `count`, live and empty.
inline ClusterView cluster_of(std::uint32_t count, const char* locality = "", Disk disk = {}) {
  ClusterView view;
  for (std::uint32_t id = 1; id <= count; ++id) view.nodes.push_back(node_at(id, locality, disk));
  return view;
}

}  // namespace outlast::placement::testing
