#include "meta/maintenance.h"

#include "meta/cas.h"
#include "meta/events.h"
#include "meta/identity.h"
#include "meta/json_fields.h"
#include "meta/keys.h"

namespace outlast::meta {

std::string encode(const MaintenanceRecord& record) {
  return boost::json::serialize(
      boost::json::object{{"node", record.node.value}, {"until", record.until_micros}, {"by", record.by}});
}

Result<MaintenanceRecord> decode_maintenance(std::string_view text) {
  ASSIGN_OR_RETURN(JsonFields fields, JsonFields::parse(text, "a maintenance record"));
  const MaintenanceRecord record{.node = NodeId(static_cast<NodeId::rep>(fields.number("node"))),
                                 .until_micros = fields.signed_number("until"),
                                 .by = fields.text("by")};
  TRY(fields.check());
  return record;
}

std::unique_ptr<MaintenanceMirror> mirror_maintenance(Store& store) {
  return std::make_unique<MaintenanceMirror>(
      store, std::string(keys::kMaintenance),
      [](std::string_view, std::string_view value) { return decode_maintenance(value); });
}

void begin_maintenance(Store& store, MaintenanceRecord record, std::int64_t wall_micros, Callback<void> done) {
  const std::string key = keys::maintenance(record.node), node = keys::node(record.node);
  const Op noted = event_op({.time_micros = wall_micros,
                             .type = "node_maintenance_begun",
                             .node = record.node,
                             .details = {{"until", record.until_micros}, {"by", record.by}}});
  Planner plan = [record = std::move(record), key, node, noted](const Snapshot& seen) -> Result<Plan> {
    const auto member = seen.find(node);
    if (member == seen.end()) return Error(Errc::kNotFound, "there is no node " + record.node.to_string());
    ASSIGN_OR_RETURN(const NodeRecord stored, decode_node_record(member->second.value));
    if (stored.membership == Membership::kDecommissioned)
      return Error(Errc::kInvalidState,
                   "node " + record.node.to_string() + " is decommissioned: it does not come back");
    const auto there = seen.find(key);
    if (there != seen.end() && there->second.value == encode(record)) return Plan{};
    return Plan{.ops = {Op::put(key, encode(record)), noted}, .compares = {}};
  };
  update(store, {key, node}, std::move(plan), without_revision(std::move(done)));
}

void end_maintenance(Store& store, NodeId node, std::string by, std::int64_t wall_micros, Callback<void> done) {
  const std::string key = keys::maintenance(node);
  const Op noted = event_op(
      {.time_micros = wall_micros, .type = "node_maintenance_ended", .node = node, .details = {{"by", std::move(by)}}});
  Planner plan = [key, noted](const Snapshot& seen) -> Result<Plan> {
    if (!seen.contains(key)) return Plan{};
    return Plan{.ops = {Op::del(key), noted}, .compares = {}};
  };
  update(store, {key}, std::move(plan), without_revision(std::move(done)));
}

}  // namespace outlast::meta
