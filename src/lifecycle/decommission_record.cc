// The record of a decommission: operators' wishes, and JSON.
#include "lifecycle/decommission_record.h"

#include <algorithm>
#include <boost/json.hpp>

#include "lifecycle/record_reader.h"

namespace outlast::lifecycle {
namespace {
namespace json = boost::json;

Error unreadable(const std::string& why) {
  return {Errc::kCorrupt, "decommission record is unreadable: " + why};
}

Result<DecommissionRecord::Node> read_node(const json::value& value) {
  if (!value.is_object()) return unreadable("a node is not a JSON object");
  RecordReader read(value.get_object());
  DecommissionRecord::Node node;
  node.node = NodeId(read.number<std::uint32_t>("node"));
  node.leave = read.flag("leave");
  node.settled = read.flag("settled");
  node.in_absentia = read.flag("in_absentia");
  node.possible_loss_bytes = read.number<std::uint64_t>("possible_loss_bytes");
  node.replicas_at_start = read.number<std::uint64_t>("replicas_at_start");
  node.bytes_at_start = read.number<std::uint64_t>("bytes_at_start");
  if (!read.wrong.empty()) return unreadable("field '" + read.wrong + "' of a node is missing or wrong");
  return node;
}

Result<DecommissionRecord> wish(const DecommissionRecord& now, std::span<const NodeId> nodes, bool leave) {
  DecommissionRecord next = now;
  for (const NodeId id : nodes) {
    DecommissionRecord::Node* node = next.find(id);
    const std::string name = "node " + id.to_string();
    if (node == nullptr) return Error(Errc::kNotFound, name + " is not being decommissioned by this task");
    if (node->settled && node->leave && !leave)
      return Error(Errc::kInvalidState, name + " is decommissioned for good; start a new node instead");
    if (node->settled && !node->leave && leave)
      return Error(Errc::kInvalidState, name + " was recommissioned; decommission it anew");
    node->leave = leave;
  }
  if (next != now) ++next.version;
  return next;
}

}  // namespace

const DecommissionRecord::Node* DecommissionRecord::find(NodeId node) const {
  const auto it = std::ranges::find(nodes, node, &Node::node);
  return it == nodes.end() ? nullptr : &*it;
}
DecommissionRecord::Node* DecommissionRecord::find(NodeId node) {
  const auto it = std::ranges::find(nodes, node, &Node::node);
  return it == nodes.end() ? nullptr : &*it;
}

bool DecommissionRecord::over() const {
  return std::ranges::all_of(nodes, &Node::settled);
}

Result<DecommissionRecord> ask_to_leave(const DecommissionRecord& now, std::span<const NodeId> nodes) {
  return wish(now, nodes, true);
}
Result<DecommissionRecord> ask_to_stay(const DecommissionRecord& now, std::span<const NodeId> nodes) {
  return wish(now, nodes, false);
}

std::string encode(const DecommissionRecord& record) {
  json::array nodes;
  for (const DecommissionRecord::Node& node : record.nodes)
    nodes.push_back(json::object{{"node", node.node.value},
                                 {"leave", node.leave},
                                 {"settled", node.settled},
                                 {"in_absentia", node.in_absentia},
                                 {"possible_loss_bytes", node.possible_loss_bytes},
                                 {"replicas_at_start", node.replicas_at_start},
                                 {"bytes_at_start", node.bytes_at_start}});
  return json::serialize(json::object{{"task", record.task},
                                      {"version", record.version},
                                      {"requested_by", record.requested_by.value},
                                      {"started_micros", record.started_micros},
                                      {"checks", json::string(record.checks)},
                                      {"nodes", std::move(nodes)}});
}

Result<DecommissionRecord> decode_decommission_record(std::string_view text) {
  boost::system::error_code problem;
  const json::value parsed = json::parse(json::string_view(text.data(), text.size()), problem);
  if (problem) return unreadable(problem.message());
  if (!parsed.is_object()) return unreadable("not a JSON object");
  RecordReader read(parsed.get_object());
  DecommissionRecord record;
  record.task = read.number<std::uint64_t>("task");
  record.version = read.number<std::uint64_t>("version");
  record.requested_by = NodeId(read.number<std::uint32_t>("requested_by"));
  record.started_micros = read.number<std::int64_t>("started_micros");
  record.checks = read.text("checks");
  const json::value* nodes = parsed.get_object().if_contains("nodes");
  if (nodes == nullptr || !nodes->is_array()) return unreadable("field 'nodes' is missing or wrong");
  for (const json::value& each : nodes->get_array()) {
    ASSIGN_OR_RETURN(const DecommissionRecord::Node node, read_node(each));
    record.nodes.push_back(node);
  }
  if (!read.wrong.empty()) return unreadable("field '" + read.wrong + "' is missing or wrong");
  return record;
}

}  // namespace outlast::lifecycle
