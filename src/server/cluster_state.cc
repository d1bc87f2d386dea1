#include "server/cluster_state.h"

#include <algorithm>

#include "fragments/scheme.h"
#include "server/range_status.h"
#include "storage/log_format.h"

namespace outlast::server {
using liveness::State;

ClusterState::ClusterState(meta::Store& store, Loop& loop)
    : loop_(loop),
      nodes_(meta::mirror_nodes(store)),
      ranges_(meta::mirror_ranges(store)),
      databases_(meta::mirror_databases(store)),
      drains_(meta::mirror_drains(store)),
      tasks_(meta::mirror_tasks(store)),
      statuses_(meta::mirror_node_statuses(store)),
      maintenance_(meta::mirror_maintenance(store)),
      partitioned_(meta::mirror_partitioned(store)),
      settings_(store) {
  ranges_->on_change([this](const meta::RangeMirror::Change& change) {
    const auto& config = (change.after ? change.after : change.before)->value;
    std::optional<gateway::Route> route;
    if (change.after && config.leaseholder)
      route = gateway::Route{config.leaseholder->node, config.leaseholder->incarnation, config.epoch};
    routes_.update(config.range, route);
  });
  partitioned_->on_change([this](const meta::PartitionedMirror::Change& change) {
    publish_partitioned((change.after ? change.after : change.before)->value.database);
  });
}

bool ClusterState::ready() const {
  return nodes_->ready() && ranges_->ready() && databases_->ready() && drains_->ready() && tasks_->ready() &&
         statuses_->ready() && maintenance_->ready() && partitioned_->ready() && settings_.ready();
}

void ClusterState::attach(meta::LivenessDriver& driver, meta::Office& office) {
  driver_ = &driver;
  office_ = &office;
}

std::optional<Incarnation> ClusterState::live(NodeId node) const {
  if (gone_for_good(node)) return std::nullopt;
  const auto view = driver_->current(node);
  if (!view || view->state != State::kLive || view->phase == meta::Phase::kStandby) return std::nullopt;
  return view->peer.incarnation;
}

std::string ClusterState::store_of(NodeId node) const {
  const auto entry = nodes_->find(meta::keys::node(node));
  return entry ? entry->value.store_uuid : std::string();
}

meta::DrainMirror::EntryPtr ClusterState::drain_of(NodeId node) const {
  const auto view = driver_->current(node);
  return view ? meta::drain_of(*drains_, view->peer) : nullptr;
}

bool ClusterState::exiting(NodeId node) const {
  const auto view = driver_->current(node);
  return view && view->phase == meta::Phase::kLeaving;
}

bool ClusterState::draining(NodeId node) const {
  return drain_of(node) != nullptr || exiting(node);
}

bool ClusterState::stepping_out(NodeId node) const {
  const auto entry = drain_of(node);
  return entry && entry->value.step_out;
}

Result<std::vector<meta::Compare>> ClusterState::admit_replica(NodeId node) const {
  const auto entry = nodes_->find(meta::keys::node(node));
  if (!entry) return Error(Errc::kNotFound, "there is no node " + node.to_string());
  if (entry->value.membership != meta::Membership::kActive)
    return Error(Errc::kInvalidState, "node " + node.to_string() + " is " +
                                          std::string(meta::to_string(entry->value.membership)) +
                                          ": it gets no replicas");
  if (!entry->value.roles.backend)
    return Error(Errc::kInvalidState, "node " + node.to_string() + " is no backend: it gets no replicas");
  return std::vector{meta::Compare::unchanged(entry->key, entry->mod_revision)};
}

bool ClusterState::gone_for_good(NodeId node) const {
  const auto entry = nodes_->find(meta::keys::node(node));
  return entry && entry->value.membership == meta::Membership::kDecommissioned;
}

std::map<NodeId, rpc::PeerAddress> ClusterState::peers(NodeId self) const {
  std::map<NodeId, rpc::PeerAddress> peers;
  for (const auto& entry : nodes_->snapshot()) {
    const meta::NodeRecord& node = entry->value;
    if (node.node == self || node.membership == meta::Membership::kDecommissioned) continue;
    if (const auto view = driver_->current(node.node); view && !view->addr.empty())
      peers[node.node] = {view->addr, view->peer.incarnation};
  }
  return peers;
}

void ClusterState::look(Instant now) {
  const std::lock_guard lock(mutex_);
  for (const auto& entry : nodes_->snapshot()) {
    const auto [it, is_new] = seen_live_.try_emplace(entry->value.node, now);
    if (const auto view = driver_->current(entry->value.node); view && view->state == State::kLive) it->second = now;
  }
}

std::int64_t ClusterState::maintenance_until(NodeId node) const {
  const auto entry = maintenance_->find(meta::keys::maintenance(node));
  return entry && entry->value.until_micros > loop_.wall_micros() ? entry->value.until_micros : 0;
}

bool ClusterState::is_dead(NodeId node) const {
  if (maintenance_until(node) != 0) return false;
  const std::lock_guard lock(mutex_);
  const auto it = seen_live_.find(node);
  return it != seen_live_.end() && loop_.now() - it->second >= settings_.duration("server.time_until_store_dead");
}

std::vector<std::pair<NodeId, Incarnation>> ClusterState::compute_nodes() const {
  std::vector<std::pair<NodeId, Incarnation>> out;
  for (const auto& entry : nodes_->snapshot()) {
    const meta::NodeRecord& record = entry->value;
    if (!record.roles.compute || record.roles.frontend || record.roles.backend) continue;
    if (exiting(record.node) || draining(record.node) || gone_for_good(record.node)) continue;
    if (const auto process = live(record.node)) out.emplace_back(record.node, *process);
  }
  return out;
}

std::vector<gateway::DatabaseRow> ClusterState::databases() const {
  std::vector<gateway::DatabaseRow> rows;
  for (const auto& entry : databases_->snapshot())
    rows.push_back({entry->value.id, entry->value.name, entry->value.range});
  return rows;
}

std::optional<gateway::DatabaseRow> ClusterState::find_database(const std::string& name) const {
  const auto entry = databases_->find(meta::keys::database(name));
  if (!entry) return std::nullopt;
  return gateway::DatabaseRow{entry->value.id, entry->value.name, entry->value.range};
}

std::string ClusterState::database_of(RangeId range) const {
  const auto record = ranges_->find(meta::keys::range(range));
  for (const auto& entry : databases_->snapshot())
    if (entry->value.range == range || (record && entry->value.id == record->value.database)) return entry->value.name;
  return {};
}

std::map<RangeId, ClusterState::RangeName> ClusterState::range_names() const {
  std::map<RangeId, RangeName> names;
  for (const auto& entry : databases_->snapshot()) names[entry->value.range] = {entry->value.name, {}, {}};
  for (const auto& entry : partitioned_->snapshot()) {
    const meta::PartitionedRecord& record = entry->value;
    const auto scheme = fragments::decode_scheme(record.scheme);
    for (const meta::PartitionRecord& each : record.partitions)
      names[each.range] = {record.database_name, record.table,
                           scheme.ok() ? scheme->slot_name(each.slot) : std::to_string(each.slot)};
  }
  return names;
}

void ClusterState::publish_partitioned(DatabaseId database) {
  auto tables = std::make_shared<gateway::PartitionedTables>();
  for (const auto& entry : partitioned_->snapshot()) {
    const meta::PartitionedRecord& record = entry->value;
    if (record.database != database || record.state != meta::PartitionedState::kReady) continue;
    gateway::PartitionedTable& table = (*tables)[record.table];
    table = {record.table, record.scheme, {}, record.version};
    for (const meta::PartitionRecord& each : record.partitions)
      if (each.ready) table.partitions.push_back({each.slot, each.range});
  }
  const std::lock_guard lock(mutex_);
  tables_.erase(database);
  if (!tables->empty()) tables_[database] = std::move(tables);
  has_tables_ = !tables_.empty();
}

std::shared_ptr<const gateway::PartitionedTables> ClusterState::partitioned(const std::string& database) const {
  if (!has_tables_) return nullptr;
  const auto row = find_database(database);
  const std::lock_guard lock(mutex_);
  const auto it = row ? tables_.find(row->id) : tables_.end();
  return it == tables_.end() ? nullptr : it->second;
}

meta::Creators ClusterState::creators(const meta::Creator& self) const {
  std::map<NodeId, std::size_t> leases = leases_by_node();
  meta::Creators out;
  for (const placement::NodeView& node : placement_view().nodes)
    if (const auto incarnation = live(node.id); incarnation && node.takes_replicas())
      out.push_back({node.id, *incarnation, node.store_uuid});
  std::ranges::stable_sort(out, {}, [&](const meta::Creator& each) { return leases[each.node]; });
  return out.empty() ? meta::Creators{self} : out;
}

std::map<NodeId, std::size_t> ClusterState::leases_by_node() const {
  std::map<NodeId, std::size_t> leases;
  for (const auto& entry : ranges_->snapshot())
    if (const auto& holder = entry->value.leaseholder) ++leases[holder->node];
  return leases;
}

placement::ClusterView ClusterState::placement_view() const {
  placement::ClusterView view;
  view.replication_factor = static_cast<int>(settings_.number("kv.replication_factor"));
  for (const auto& entry : nodes_->snapshot()) {
    const meta::NodeRecord& record = entry->value;
    placement::NodeView node;
    node.id = record.node;
    node.store_uuid = record.store_uuid;
    if (!live(record.node))
      node.health = is_dead(record.node) ? placement::NodeView::Health::kDead : placement::NodeView::Health::kSuspect;
    node.membership = record.membership;
    node.draining = draining(record.node);
    node.exiting = exiting(record.node);
    node.store_failed = !record.store.failure.empty();
    node.locality = record.locality;
    node.frontend = record.roles.frontend;
    node.backend = record.roles.backend;
    if (const auto status = statuses_->find(meta::keys::status(record.node))) {
      node.disk = status->value.disk;
      node.inputs = status->value.inputs;
    }
    view.nodes.push_back(std::move(node));
  }
  std::map<DatabaseId, int> factors;
  for (const auto& entry : databases_->snapshot())
    if (entry->value.replication_factor > 0) factors[entry->value.id] = entry->value.replication_factor;
  for (const auto& entry : ranges_->snapshot()) {
    placement::RangeView& range = view.ranges.emplace_back(entry->value);
    if (const auto its = factors.find(range.database); its != factors.end()) range.replication_factor = its->second;
  }
  return view;
}

std::uint32_t ClusterState::log_format() const {
  std::uint32_t newest = storage::kLogFormat;
  for (const auto& entry : nodes_->snapshot())
    if (entry->value.membership != meta::Membership::kDecommissioned)
      newest = std::min(newest, entry->value.log_format);
  return newest;
}

void ClusterState::describe(const meta::NodeRecord& record, proto::NodeStatus& out) const {
  const auto view = driver_->current(record.node);
  const bool gone = record.membership == meta::Membership::kDecommissioned;
  out.set_id(record.node.value);
  out.set_address(view ? view->addr : record.rpc_addr);
  out.set_sql_address(record.sql_addr);
  out.set_http_address(record.http_addr);
  out.set_build(record.build);
  out.set_started_at_micros(record.started_micros);
  out.set_updated_at_micros(loop_.wall_micros());
  out.set_incarnation(view ? view->peer.incarnation.value : record.incarnation.value);
  out.set_liveness(!gone && is_dead(record.node) ? "dead" : view ? liveness::to_string(view->state) : "fenced");
  out.set_is_live(!gone && view && view->state == State::kLive);
  out.set_is_available(live(record.node).has_value());
  out.set_membership(std::string(meta::to_string(record.membership)));
  const auto drain = drains_->find(meta::keys::drain(record.node));
  out.set_is_draining(draining(record.node) || (gone && drain && drain->value.drained));
  out.set_is_decommissioning(record.membership != meta::Membership::kActive);
  out.set_is_fenced_for_good(gone && !view);
  out.set_store_failure(record.store.failure);
  out.set_locality(placement::to_string(record.locality));
  out.set_maintenance_until_micros(maintenance_until(record.node));
  if (const auto status = statuses_->find(meta::keys::status(record.node))) {
    out.set_disk_capacity(status->value.disk.capacity_bytes);
    out.set_disk_available(status->value.disk.available_bytes);
    out.set_buffer_bytes(status->value.buffer_bytes);
  }
}

void ClusterState::describe_presence(const meta::NodeRecord& record, proto::NodeStatus& out) const {
  out.set_roles(placement::to_string(record.roles));
  const bool leaves = exiting(record.node) || drain_of(record.node) != nullptr;
  const bool there =
      driver_->current(record.node).has_value() && out.liveness() != "fenced" && out.liveness() != "dead";
  const std::string heard = out.is_live() ? "" : "no heartbeat is seen; ";
  if (record.membership == meta::Membership::kDecommissioned) {
    out.set_status_code("DISCONNECTED");
    out.set_err_msg("the node is decommissioned");
  } else if (there && leaves) {
    out.set_status_code("SHUTDOWN");
    out.set_err_msg(heard + (exiting(record.node) ? "the process is exiting" : "the node is draining"));
  } else if (there && out.is_live()) {
    out.set_status_code("OK");
    if (!record.store.failure.empty()) out.set_err_msg("its disk failed: " + record.store.failure);
  } else {
    out.set_status_code("DISCONNECTED");
    out.set_err_msg(there ? "no heartbeat is seen" : "its process has ended, or was fenced for its silence");
  }
  const std::lock_guard lock(mutex_);
  if (const auto it = seen_live_.find(record.node); it != seen_live_.end())
    out.set_last_heartbeat_micros(loop_.wall_micros() - (loop_.now() - it->second) / std::chrono::microseconds(1));
}

proto::NodeStatusReply ClusterState::node_status() const {
  std::map<NodeId, std::pair<std::uint64_t, std::uint64_t>> counts;  // replicas, leases
  for (const auto& entry : ranges_->snapshot()) {
    for (const auto* list : {&entry->value.insync, &entry->value.learners})
      for (const auto& replica : *list) ++counts[replica.node].first;
    if (entry->value.leaseholder) ++counts[entry->value.leaseholder->node].second;
  }
  const auto leader = office_->leader();
  proto::NodeStatusReply reply;
  for (const auto& entry : nodes_->snapshot()) {
    const NodeId node = entry->value.node;
    proto::NodeStatus& out = *reply.add_nodes();
    describe(entry->value, out);
    describe_presence(entry->value, out);
    out.set_replicas(counts[node].first);
    out.set_leases(counts[node].second);
    out.set_is_leader_frontend(leader && leader->node == node);
  }
  return reply;
}

proto::RangesReply ClusterState::ranges_reply() const {
  const std::map<RangeId, RangeName> names = range_names();
  proto::RangesReply reply;
  for (const auto& entry : ranges_->snapshot()) {
    const auto name = names.find(entry->value.range);
    proto::RangeStatus& out = *reply.add_ranges();
    out = range_status(entry->value, name == names.end() ? std::string() : name->second.database);
    if (name == names.end()) continue;
    out.set_table(name->second.table);
    out.set_partition(name->second.partition);
  }
  return reply;
}

}  // namespace outlast::server
