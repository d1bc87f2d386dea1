#include "meta/partitioned.h"

#include <algorithm>
#include <boost/json.hpp>

#include "meta/json_fields.h"
#include "meta/keys.h"

namespace outlast::meta {
namespace {
namespace json = boost::json;

constexpr std::string_view kWhat = "a partitioned table's record";

Error unreadable(const char* field) {
  return {Errc::kCorrupt, std::string(kWhat) + " in the metadata store has an unreadable field " + field};
}

Error table_error(Errc code, const PartitionedRecord& record, const char* what) {
  return {code, "table \"" + record.table + "\" " + what};
}

json::object to_json(const PendingChange& change) {
  json::array sql;
  for (const std::string& one : change.sql) sql.emplace_back(one);
  return {{"number", change.number},
          {"tag", change.tag},
          {"sql", std::move(sql)},
          {"decided", change.decided},
          {"request", change.request},
          {"node", change.owner.node.value},
          {"incarnation", change.owner.incarnation.value},
          {"since", change.since_micros},
          {"problem", change.problem}};
}

liveness::Peer peer_of(JsonFields& fields) {
  return {NodeId(static_cast<NodeId::rep>(fields.number("node"))), Incarnation(fields.number("incarnation"))};
}

Result<PendingChange> pending_of(const json::value& value) {
  ASSIGN_OR_RETURN(JsonFields fields, JsonFields::parse(json::serialize(value), kWhat));
  PendingChange change{.number = fields.number("number"),
                       .tag = fields.text("tag"),
                       .request = fields.text("request"),
                       .owner = peer_of(fields),
                       .since_micros = fields.signed_number("since"),
                       .problem = fields.text("problem")};
  TRY(fields.check());
  const json::value* decided = fields.object().if_contains("decided");
  const json::value* sql = fields.object().if_contains("sql");
  if (decided == nullptr || !decided->is_bool()) return unreadable("decided");
  if (sql == nullptr || !sql->is_array()) return unreadable("sql");
  change.decided = decided->get_bool();
  for (const json::value& one : sql->get_array()) {
    if (!one.is_string()) return unreadable("sql");
    change.sql.emplace_back(one.get_string());
  }
  return change;
}

/// [slot, range, ready as 0 or 1]
Result<PartitionRecord> partition_of(const json::value& value) {
  const json::array* fields = value.if_array();
  if (fields == nullptr || fields->size() < 3) return unreadable("partitions");
  boost::system::error_code bad_slot, bad_range, bad_ready;
  const PartitionRecord partition{fields->at(0).to_number<std::int64_t>(bad_slot),
                                  RangeId(fields->at(1).to_number<std::uint64_t>(bad_range)),
                                  fields->at(2).to_number<int>(bad_ready) != 0};
  if (bad_slot || bad_range || bad_ready || !partition.range) return unreadable("partitions");
  return partition;
}

PartitionedRecord next_version(PartitionedRecord record) {
  ++record.version;
  return record;
}

Result<void> is_pending(const PartitionedRecord& now, std::uint64_t number) {
  if (now.pending && now.pending->number == number) return {};
  return table_error(Errc::kInvalidState, now, "is not being changed by this statement any more");
}
}  // namespace

std::string_view to_string(PartitionedState state) {
  switch (state) {
    case PartitionedState::kCreating:
      return "creating";
    case PartitionedState::kReady:
      return "ready";
    case PartitionedState::kDropping:
      return "dropping";
  }
  return "dropping";
}

const PartitionRecord* PartitionedRecord::find(std::int64_t slot) const {
  const auto it = std::ranges::find(partitions, slot, &PartitionRecord::slot);
  return it == partitions.end() ? nullptr : &*it;
}

std::string encode(const PartitionedRecord& record) {
  json::array partitions;
  for (const PartitionRecord& each : record.partitions)
    partitions.push_back(json::array{each.slot, each.range.value, each.ready ? 1 : 0});
  json::object out{{"database", record.database.value},
                   {"database_name", record.database_name},
                   {"table", record.table},
                   {"state", std::string(to_string(record.state))},
                   {"scheme", record.scheme},
                   {"partitions", std::move(partitions)},
                   {"version", record.version},
                   {"begun", record.begun},
                   {"applied", record.applied},
                   {"request", record.request},
                   {"node", record.owner.node.value},
                   {"incarnation", record.owner.incarnation.value},
                   {"since", record.since_micros}};
  if (record.pending) out["pending"] = to_json(*record.pending);
  return json::serialize(out);
}

Result<PartitionedRecord> decode_partitioned(std::string_view text) {
  ASSIGN_OR_RETURN(JsonFields fields, JsonFields::parse(text, kWhat));
  PartitionedRecord record{.database = DatabaseId(fields.number("database")),
                           .database_name = fields.text("database_name"),
                           .table = fields.text("table"),
                           .state = PartitionedState::kDropping,
                           .scheme = fields.text("scheme"),
                           .version = fields.number("version"),
                           .begun = fields.number("begun"),
                           .applied = fields.number("applied"),
                           .request = fields.text("request"),
                           .owner = peer_of(fields),
                           .since_micros = fields.signed_number("since")};
  const std::string state = fields.text("state");
  TRY(fields.check());
  if (!record.database || record.table.empty()) return unreadable("table");
  bool known = false;
  for (const auto each : {PartitionedState::kCreating, PartitionedState::kReady, PartitionedState::kDropping})
    if (state == to_string(each)) record.state = each, known = true;
  if (!known) return unreadable("state");
  const json::value* partitions = fields.object().if_contains("partitions");
  if (partitions == nullptr || !partitions->is_array()) return unreadable("partitions");
  for (const json::value& each : partitions->get_array()) {
    ASSIGN_OR_RETURN(const PartitionRecord partition, partition_of(each));
    record.partitions.push_back(partition);
  }
  if (const json::value* pending = fields.object().if_contains("pending")) {
    ASSIGN_OR_RETURN(record.pending, pending_of(*pending));
  }
  return record;
}

std::unique_ptr<PartitionedMirror> mirror_partitioned(Store& store) {
  return std::make_unique<PartitionedMirror>(
      store, std::string(keys::kPartitioned),
      [](std::string_view, std::string_view value) { return decode_partitioned(value); });
}

Result<PartitionedRecord> now_ready(const PartitionedRecord& now, std::string_view request) {
  if (now.request != request || now.state == PartitionedState::kDropping)
    return table_error(Errc::kInvalidState, now, "was given up while it was created; create it again");
  if (now.state == PartitionedState::kReady) return now;
  PartitionedRecord next = next_version(now);
  next.state = PartitionedState::kReady;
  for (PartitionRecord& each : next.partitions) each.ready = true;
  return next;
}

PartitionedRecord now_dropping(const PartitionedRecord& now) {
  if (now.state == PartitionedState::kDropping) return now;
  PartitionedRecord next = next_version(now);
  next.state = PartitionedState::kDropping;
  next.pending.reset();
  return next;
}

Result<PartitionedRecord> partition_ready(const PartitionedRecord& now, const PartitionRecord& partition,
                                          std::uint64_t applied) {
  const PartitionRecord* there = now.find(partition.slot);
  if (now.state != PartitionedState::kReady || there == nullptr || there->range != partition.range)
    return table_error(Errc::kInvalidState, now, "has dropped this partition meanwhile; run the statement again");
  if (there->ready) return now;
  if (now.pending || now.applied != applied) return table_error(Errc::kObjectInUse, now, "is being changed");
  PartitionedRecord next = next_version(now);
  for (PartitionRecord& each : next.partitions) each.ready = each.ready || each.slot == partition.slot;
  return next;
}

Result<PartitionedRecord> change_begun(const PartitionedRecord& now, PendingChange change) {
  if (now.pending && now.pending->request == change.request) return now;
  if (now.state != PartitionedState::kReady)
    return table_error(Errc::kObjectInUse, now, "is being created or dropped; try again when that is over");
  if (now.pending)
    return table_error(Errc::kObjectInUse, now,
                       "is being changed by another statement; try again when that is over (SHOW PARTITIONS)");
  PartitionedRecord next = next_version(now);
  change.number = ++next.begun;
  next.pending = std::move(change);
  return next;
}

Result<PartitionedRecord> change_decided(const PartitionedRecord& now, std::uint64_t number, std::int64_t wall_micros) {
  TRY(is_pending(now, number));
  if (now.pending->decided) return now;
  PartitionedRecord next = next_version(now);
  next.pending->decided = true;
  next.pending->since_micros = wall_micros;
  return next;
}

Result<PartitionedRecord> change_cancelled(const PartitionedRecord& now, std::uint64_t number) {
  if (!now.pending || now.pending->number != number) return now;
  if (now.pending->decided) return table_error(Errc::kInvalidState, now, "is changed: that was decided");
  PartitionedRecord next = next_version(now);
  next.pending.reset();
  return next;
}

Result<PartitionedRecord> change_finished(const PartitionedRecord& now, std::uint64_t number) {
  if (!now.pending && now.applied >= number) return now;
  TRY(is_pending(now, number));
  if (!now.pending->decided) return table_error(Errc::kInvalidState, now, "has not been decided to change");
  PartitionedRecord next = next_version(now);
  next.applied = number;
  next.pending.reset();
  return next;
}

Result<PartitionedRecord> change_stuck(const PartitionedRecord& now, std::uint64_t number, std::string problem) {
  TRY(is_pending(now, number));
  if (now.pending->problem == problem) return now;
  PartitionedRecord next = next_version(now);
  next.pending->problem = std::move(problem);
  return next;
}

}  // namespace outlast::meta
