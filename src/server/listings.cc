#include "server/listings.h"

#include "base/parse.h"
#include "fragments/scheme.h"
#include "placement/membership.h"
#include "placement/roles.h"
#include "server/json_views.h"

namespace outlast::server {
namespace {
using executor::Null;
using executor::Value;

Value number(std::uint64_t value) {
  return static_cast<std::int64_t>(value);
}
Value number_or_null(bool known, std::uint64_t value) {
  return known ? number(value) : Value(Null());
}
Value time_or_null(std::int64_t micros) {
  return micros == 0 ? Value(Null()) : Value(time_text(micros));
}
Value text_or_null(const std::string& text) {
  return text.empty() ? Value(Null()) : Value(text);
}
template <class List>
Value listed(const List& list) {
  std::string out;
  for (const auto& each : list) out += (out.empty() ? "" : ",") + std::to_string(each);
  return out;
}
/// "CREATE INDEX", and why it does not end.
Value change_of(const meta::PartitionedRecord& table) {
  if (!table.pending) return Null();
  return table.pending->tag + (table.pending->problem.empty() ? "" : ": " + table.pending->problem);
}
Value nodes_of(const proto::TaskStatus& task) {
  std::vector<std::uint32_t> nodes;
  for (const auto& node : task.nodes()) nodes.push_back(node.node());
  return listed(nodes);
}
// StarRocks writes booleans so.
Value yes(bool value) {
  return std::string(value ? "true" : "false");
}
Value host_of(const std::string& address) {
  return address.substr(0, address.rfind(':'));
}
Value port_of(const std::string& address) {
  const auto port = parse_int(std::string_view(address).substr(address.rfind(':') + 1));
  return port.ok() ? Value(*port) : Value(Null());
}
/// A node that leaves is never taken for dead.
bool is_alive(const proto::NodeStatus& node) {
  return node.status_code() != "DISCONNECTED";
}
Value running(const proto::NodeStatus& node) {
  return number_or_null(node.has_running_queries(), node.running_queries());
}
bool has_role(const proto::NodeStatus& node, bool placement::Roles::* role) {
  if (node.membership() == to_string(placement::Membership::kDecommissioned)) return false;
  const auto roles = placement::parse_roles(node.roles());
  return !roles.ok() || *roles.*role;
}
}  // namespace

std::vector<gateway::ListingRow> listing_rows(const proto::NodeStatusReply& nodes) {
  std::vector<gateway::ListingRow> rows;
  for (const proto::NodeStatus& n : nodes.nodes())
    rows.push_back({number(n.id()), n.address(), n.sql_address(), n.build(), time_text(n.started_at_micros()),
                    text_or_null(n.locality()), number(n.is_available()), number(n.is_live()), n.liveness(),
                    number(n.replicas()), number(n.leases()), number(n.is_decommissioning()), n.membership(),
                    number(n.is_draining()), number(n.is_leader_frontend()), text_or_null(n.roles())});
  return rows;
}

std::vector<gateway::ListingRow> frontend_rows(const proto::NodeStatusReply& nodes) {
  std::vector<gateway::ListingRow> rows;
  for (const proto::NodeStatus& n : nodes.nodes())
    if (has_role(n, &placement::Roles::frontend))
      rows.push_back({number(n.id()), "node" + std::to_string(n.id()), host_of(n.address()), port_of(n.http_address()),
                      port_of(n.sql_address()), port_of(n.address()), n.is_leader_frontend() ? "LEADER" : "FOLLOWER",
                      yes(n.is_leader_frontend()), yes(is_alive(n)), time_or_null(n.last_heartbeat_micros()),
                      n.err_msg(), time_text(n.started_at_micros()), n.build(), running(n), n.status_code()});
  return rows;
}

std::vector<gateway::ListingRow> backend_rows(const proto::NodeStatusReply& nodes) {
  std::vector<gateway::ListingRow> rows;
  for (const proto::NodeStatus& n : nodes.nodes())
    if (has_role(n, &placement::Roles::backend))
      rows.push_back({number(n.id()), host_of(n.address()), port_of(n.address()), port_of(n.address()),
                      port_of(n.http_address()), time_text(n.started_at_micros()),
                      time_or_null(n.last_heartbeat_micros()), yes(is_alive(n)), yes(n.is_decommissioning()),
                      number(n.replicas()), number_or_null(n.disk_capacity() > 0, n.disk_available()),
                      number_or_null(n.disk_capacity() > 0, n.disk_capacity()), n.err_msg(), n.build(), running(n),
                      n.locality(), n.status_code()});
  return rows;
}

std::vector<gateway::ListingRow> compute_node_rows(const proto::NodeStatusReply& nodes) {
  std::vector<gateway::ListingRow> rows;
  for (const proto::NodeStatus& n : nodes.nodes())
    if (has_role(n, &placement::Roles::compute))
      rows.push_back({number(n.id()), host_of(n.address()), port_of(n.address()), port_of(n.address()),
                      port_of(n.http_address()), time_text(n.started_at_micros()),
                      time_or_null(n.last_heartbeat_micros()), yes(is_alive(n)), yes(n.is_decommissioning()),
                      n.err_msg(), n.build(), running(n), n.status_code()});
  return rows;
}

std::vector<gateway::ListingRow> listing_rows(const proto::RangesReply& ranges) {
  std::vector<gateway::ListingRow> rows;
  for (const proto::RangeStatus& r : ranges.ranges())
    rows.push_back({number(r.range()), text_or_null(r.database()), number(r.epoch()),
                    number_or_null(r.leaseholder() != 0, r.leaseholder()), listed(r.insync()), listed(r.learners()),
                    number(r.rf()), number(r.min_insync()), number(r.clean())});
  return rows;
}

std::vector<gateway::ListingRow> listing_rows(const proto::TasksReply& tasks) {
  std::vector<gateway::ListingRow> rows;
  for (const proto::TaskStatus& t : tasks.tasks())
    rows.push_back({number(t.id()), t.kind(), t.state(), text_or_null(t.stage()), nodes_of(t),
                    time_or_null(t.started_micros()), time_or_null(t.ended_micros()),
                    number_or_null(t.has_progress(), t.replicas_left()),
                    number_or_null(t.has_progress(), t.bytes_left()),
                    number_or_null(t.has_progress() && t.eta_ms() >= 0, static_cast<std::uint64_t>(t.eta_ms())),
                    text_or_null(t.stall().reason()), text_or_null(t.by()), text_or_null(t.outcome())});
  return rows;
}

std::vector<gateway::ListingRow> listing_rows(const std::vector<meta::PartitionedMirror::EntryPtr>& tables,
                                              const meta::RangeMirror& ranges) {
  std::vector<gateway::ListingRow> rows;
  for (const auto& entry : tables) {
    const meta::PartitionedRecord& table = entry->value;
    const auto scheme = fragments::decode_scheme(table.scheme);
    const Value change = change_of(table);
    if (table.partitions.empty())
      rows.push_back({table.database_name, table.table, Null(), Null(), Null(), Null(), Null(), Null(),
                      std::string(to_string(table.state)), change});
    for (const meta::PartitionRecord& each : table.partitions) {
      const auto config = ranges.find(meta::keys::range(each.range));
      const bool led = config && config->value.leaseholder;
      const bool times = scheme.ok() && scheme->kind == fragments::Scheme::Kind::kRange;
      std::vector<std::uint32_t> insync;
      if (config)
        for (const auto& replica : config->value.insync) insync.push_back(replica.node.value);
      const auto state = table.state == meta::PartitionedState::kReady && !each.ready
                             ? meta::PartitionedState::kCreating
                             : table.state;
      rows.push_back({table.database_name, table.table,
                      scheme.ok() ? scheme->slot_name(each.slot) : std::to_string(each.slot),
                      times ? Value(scheme->first_key(each.slot)) : Value(Null()),
                      times ? Value(scheme->last_key(each.slot)) : Value(Null()), number(each.range.value),
                      number_or_null(led, led ? config->value.leaseholder->node.value : 0), listed(insync),
                      std::string(to_string(state)), change});
    }
  }
  return rows;
}

}  // namespace outlast::server
