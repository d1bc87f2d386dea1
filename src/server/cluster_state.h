#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "gateway/cluster.h"
#include "gateway/router.h"
#include "meta/databases.h"
#include "meta/drains.h"
#include "meta/liveness_driver.h"
#include "meta/maintenance.h"
#include "meta/mirrors.h"
#include "meta/node_status.h"
#include "meta/office.h"
#include "meta/partition_ranges.h"
#include "meta/settings.h"
#include "meta/tasks.h"
#include "placement/planner.h"
#include "proto/peer.pb.h"
#include "replication/parameters.h"
#include "rpc/peer_address.h"

namespace outlast::server {

/// What this node knows of the cluster: the mirrors of the metadata, and the answers that other rooms want from them.
/// Thread-safety: construct, destroy and the members marked (loop) on the loop; the rest from any thread.
class ClusterState final : public replication::NodeDirectory {
 public:
  ClusterState(meta::Store& store, Loop& loop);

  /// All mirrors have seen a full state. (loop)
  bool ready() const;
  /// The driver and office that the answers about liveness come from; set once, before anybody asks.
  void attach(meta::LivenessDriver& driver, meta::Office& office);

  std::optional<Incarnation> live(NodeId node) const override;
  std::string store_of(NodeId node) const override;
  /// Its present process is about to end: phase leaving. Never means dead.
  bool exiting(NodeId node) const;
  bool draining(NodeId node) const override;
  bool stepping_out(NodeId node) const override;
  Result<std::vector<meta::Compare>> admit_replica(NodeId node) const override;
  bool gone_for_good(NodeId node) const override;
  /// Every other node that may be talked to: its present incarnation and the address of that very process. (loop)
  std::map<NodeId, rpc::PeerAddress> peers(NodeId self) const;
  /// Silent for server.time_until_store_dead, and not in maintenance.
  bool is_dead(NodeId node) const;
  /// Wall clock; 0 when the node is not in maintenance now.
  std::int64_t maintenance_until(NodeId node) const;
  /// Notes who is live now, for is_dead. (loop)
  void look(Instant now);

  /// Live nodes with the compute role and no other that do not leave.
  std::vector<std::pair<NodeId, Incarnation>> compute_nodes() const;
  std::vector<gateway::DatabaseRow> databases() const;
  std::optional<gateway::DatabaseRow> find_database(const std::string& name) const;
  std::string database_of(RangeId range) const;
  /// What a range holds, for people; empty when nobody knows.
  struct RangeName {
    std::string database, table, partition;
  };
  std::map<RangeId, RangeName> range_names() const;
  /// Partitioned tables of a database that are ready; nullptr when it has none. The same object until one changes.
  std::shared_ptr<const gateway::PartitionedTables> partitioned(const std::string& database) const;
  /// Who may lead new ranges first: all that take replicas, those with the fewest leases first; `self` when there is
  /// none.
  meta::Creators creators(const meta::Creator& self) const;
  std::map<NodeId, std::size_t> leases_by_node() const;
  /// What placement decides by; sizes of ranges are the caller's to add.
  placement::ClusterView placement_view() const;
  /// Newest log entries that every member reads, also one that is not running now: it comes back to the same log.
  std::uint32_t log_format() const;
  proto::NodeStatusReply node_status() const;
  proto::RangesReply ranges_reply() const;

  meta::NodeMirror& nodes() { return *nodes_; }
  meta::RangeMirror& ranges() { return *ranges_; }
  meta::DatabaseMirror& database_mirror() { return *databases_; }
  meta::DrainMirror& drains() { return *drains_; }
  meta::TaskMirror& tasks() { return *tasks_; }
  meta::NodeStatusMirror& statuses() { return *statuses_; }
  meta::PartitionedMirror& partitioned_mirror() { return *partitioned_; }
  meta::MaintenanceMirror& maintenance() { return *maintenance_; }
  meta::Settings& settings() { return settings_; }
  const meta::Settings& settings() const { return settings_; }
  gateway::RouteTable& routes() { return routes_; }

 private:
  /// The drain of the node's present process.
  meta::DrainMirror::EntryPtr drain_of(NodeId node) const;
  void describe(const meta::NodeRecord& record, proto::NodeStatus& out) const;
  void publish_partitioned(DatabaseId database);

  Loop& loop_;
  std::unique_ptr<meta::NodeMirror> nodes_;
  std::unique_ptr<meta::RangeMirror> ranges_;
  std::unique_ptr<meta::DatabaseMirror> databases_;
  std::unique_ptr<meta::DrainMirror> drains_;
  std::unique_ptr<meta::TaskMirror> tasks_;
  std::unique_ptr<meta::NodeStatusMirror> statuses_;
  std::unique_ptr<meta::MaintenanceMirror> maintenance_;
  std::unique_ptr<meta::PartitionedMirror> partitioned_;
  meta::Settings settings_;
  gateway::RouteTable routes_;
  meta::LivenessDriver* driver_{nullptr};
  meta::Office* office_{nullptr};
  /// Status code, sentence and last heartbeat: from the same record as everything else about its liveness.
  void describe_presence(const meta::NodeRecord& record, proto::NodeStatus& out) const;
  mutable std::mutex mutex_;
  std::map<NodeId, Instant> seen_live_;                                             // under mutex_
  std::map<DatabaseId, std::shared_ptr<const gateway::PartitionedTables>> tables_;  // under mutex_
  std::atomic<bool> has_tables_{false};
};

}  // namespace outlast::server
