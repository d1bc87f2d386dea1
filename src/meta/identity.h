#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "meta/store.h"
#include "placement/locality.h"
#include "placement/membership.h"
#include "placement/roles.h"

namespace outlast::meta {

/// /cluster: written once, by `outlast init`.
struct ClusterRecord {
  std::string id;                  ///< UUID text.
  std::int64_t created_micros{0};  ///< Wall clock, for display.
};

using placement::Membership;
using placement::to_string;

/// What the disk of a node's store did (protocol A4.8). Outlives the process that reports it: register_node keeps it.
struct StoreReport {
  std::string failure;   ///< Why nothing is built on the store; empty = it may be used.
  bool unmarked{false};  ///< The store itself does not say so: its next process must not trust any replica in it.
  friend bool operator==(const StoreReport&, const StoreReport&) = default;
};

/// /nodes/<id>.
struct NodeRecord {
  NodeId node;
  std::string store_uuid;  ///< Of the node's store; a wiped store is another node.
  std::string rpc_addr, sql_addr, http_addr;
  std::string build;               ///< Version of the program, for display and upgrades.
  Incarnation incarnation;         ///< Of the worker that wrote the record last.
  std::int64_t started_micros{0};  ///< Wall clock, for display.
  Membership membership{Membership::kActive};
  NodeId membership_by;                     ///< Which node was asked for the last change of it; 0 = there was none.
  std::int64_t membership_since_micros{0};  ///< Wall clock of that change, for display.
  /// Newest log entries that the node's program reads (storage/log_format.h); records of the first programs say
  /// nothing.
  std::uint32_t log_format{1};
  StoreReport store;
  placement::Locality locality;
  placement::Roles roles;  ///< All of them in the records of the first programs.
  friend bool operator==(const NodeRecord&, const NodeRecord&) = default;
};
std::string encode(const NodeRecord& record);
Result<NodeRecord> decode_node_record(std::string_view text);

// All functions call back on the store's loop. Errors beside the store's own are named. They may be repeated after any
// error. Thread-safety: any thread.

/// kAlreadyInitialised when the cluster has another id; success when it has this one.
void init_cluster(Store& store, std::string cluster_id, std::int64_t wall_micros, Callback<void> done);
/// kNotInitialised before `outlast init`.
void read_cluster(Store& store, Callback<ClusterRecord> done);
/// An id that nobody else ever had or gets; one given out and not used is lost.
void allocate_node_id(Store& store, Callback<NodeId> done);
/// Higher than every incarnation drawn for this node before, by whomever. kInvalidState for a decommissioned node.
void draw_incarnation(Store& store, NodeId node, Callback<Incarnation> done);
/// Creates or refreshes the node's record and returns it as stored: membership and the report on its store are kept,
/// and what `record` says about them counts for a new node only. kInvalidState for a decommissioned node, kWrongCluster
/// when the record belongs to another store.
void register_node(Store& store, NodeRecord record, Callback<NodeRecord> done);
/// kNotFound for a node without a record.
void report_store(Store& store, NodeId node, StoreReport report, Callback<void> done);

}  // namespace outlast::meta
