#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "placement/locality.h"
#include "placement/membership.h"
#include "placement/range_config.h"

namespace outlast::placement {

/// A node's disk as it reported it last. Capacity 0: it said nothing, and space is not counted there.
struct Disk {
  std::uint64_t capacity_bytes{0}, used_bytes{0}, available_bytes{0};
  bool known() const { return capacity_bytes > 0; }
  friend bool operator==(const Disk&, const Disk&) = default;
};

/// A node, as the caller of a decision sees it.
struct NodeView {
  enum class Health : std::uint8_t {
    kLive,
    kSuspect,  ///< Silent or fenced for a while: no target, and not given up yet.
    kDead,     ///< Silent for server.time_until_store_dead.
  };
  NodeId id;
  std::string store_uuid;
  Health health{Health::kLive};
  Membership membership{Membership::kActive};
  bool draining{false};
  bool exiting{false};       ///< Its process ends and gives its leases away itself: those of running statements last.
  bool store_failed{false};  ///< Its disk failed, and has not proven itself since.
  Locality locality;
  Disk disk;
  bool frontend{true};      ///< Clients may connect here.
  bool backend{true};       ///< Stores replicas.
  std::uint32_t inputs{0};  ///< Inputs of ingest that are configured here.

  /// Belongs here for good and may come back.
  bool stays() const {
    return membership == Membership::kActive && health != Health::kDead && !store_failed && !store_uuid.empty();
  }
  /// And may have replicas: what counts when asking whether the cluster is large enough.
  bool counts() const { return backend && stays(); }
  /// New replicas and leases may go here.
  bool takes_replicas() const { return counts() && health == Health::kLive && !draining; }
};

/// A range: its record, and what is known beside it.
struct RangeView : RangeConfig {
  RangeView(RangeConfig config, std::uint64_t size_bytes = 0)  // NOLINT: implicit on purpose
      : RangeConfig(std::move(config)), bytes(size_bytes) {}
  struct Received {
    NodeId learner;
    std::uint64_t bytes{0};
    bool queued{false};  ///< Its copy has not begun: it waits until its sender has finished others.
  };
  std::uint64_t bytes{0};          ///< Of one replica.
  int replication_factor{0};       ///< Of its database; 0 = the cluster's.
  std::vector<Received> received;  ///< How far learners are; one that is not named has nothing yet.
  bool in_task{false};             ///< A task moves it: counted, and otherwise left alone by plan().

  std::uint64_t missing_on(NodeId learner) const {
    for (const Received& each : received)
      if (each.learner == learner) return bytes - std::min(bytes, each.bytes);
    return bytes;
  }
  bool queued(NodeId learner) const {
    return std::ranges::any_of(received, [&](const Received& each) { return each.learner == learner && each.queued; });
  }
};

struct ClusterView {
  std::vector<NodeView> nodes;
  std::vector<RangeView> ranges;
  int replication_factor{3};  ///< Wanted where a database says nothing; nodes that can hold replicas limit it.
};

}  // namespace outlast::placement
