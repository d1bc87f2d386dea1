#include "meta/node_status.h"

#include "meta/cas.h"
#include "meta/json_fields.h"
#include "meta/keys.h"

namespace outlast::meta {
namespace {
constexpr std::uint64_t kDiskStepBytes = 64U << 20;

std::uint64_t difference(std::uint64_t a, std::uint64_t b) {
  return a > b ? a - b : b - a;
}
bool is_notable(const placement::Disk& written, const placement::Disk& now) {
  if (written.capacity_bytes != now.capacity_bytes) return true;
  const std::uint64_t step = std::min(now.capacity_bytes / 100, kDiskStepBytes);
  return difference(written.available_bytes, now.available_bytes) > step ||
         difference(written.used_bytes, now.used_bytes) > step;
}
}  // namespace

std::string encode(const NodeStatusRecord& record) {
  return boost::json::serialize(boost::json::object{{"node", record.peer.node.value},
                                                    {"incarnation", record.peer.incarnation.value},
                                                    {"disk_capacity", record.disk.capacity_bytes},
                                                    {"disk_used", record.disk.used_bytes},
                                                    {"disk_available", record.disk.available_bytes},
                                                    {"inputs", record.inputs},
                                                    {"inputs_open", record.inputs_open},
                                                    {"buffer_bytes", record.buffer_bytes},
                                                    {"written", record.written_micros}});
}

Result<NodeStatusRecord> decode_node_status(std::string_view text) {
  ASSIGN_OR_RETURN(JsonFields fields, JsonFields::parse(text, "a node's status"));
  const NodeStatusRecord record{
      .peer = {NodeId(static_cast<NodeId::rep>(fields.number("node"))), Incarnation(fields.number("incarnation"))},
      .disk = {.capacity_bytes = fields.number("disk_capacity"),
               .used_bytes = fields.number("disk_used"),
               .available_bytes = fields.number("disk_available")},
      .inputs = static_cast<std::uint32_t>(fields.number("inputs")),
      .inputs_open = static_cast<std::uint32_t>(fields.number("inputs_open")),
      .buffer_bytes = fields.number("buffer_bytes"),
      .written_micros = fields.signed_number("written")};
  TRY(fields.check());
  return record;
}

std::unique_ptr<NodeStatusMirror> mirror_node_statuses(Store& store) {
  return std::make_unique<NodeStatusMirror>(
      store, std::string(keys::kStatuses),
      [](std::string_view, std::string_view value) { return decode_node_status(value); });
}

bool is_notable(const NodeStatusRecord& written, const NodeStatusRecord& now) {
  const bool buffers = (written.buffer_bytes == 0) != (now.buffer_bytes == 0) ||
                       now.buffer_bytes > 2 * written.buffer_bytes || 2 * now.buffer_bytes < written.buffer_bytes;
  return written.peer != now.peer || buffers || written.inputs != now.inputs ||
         written.inputs_open != now.inputs_open || is_notable(written.disk, now.disk);
}

void write_node_status(Store& store, NodeStatusRecord record, Callback<void> done) {
  const std::string key = keys::status(record.peer.node), fence = keys::fence(record.peer);
  Planner plan = [record = std::move(record), key, fence](const Snapshot& seen) -> Result<Plan> {
    if (seen.contains(fence)) return Error(Errc::kFenced, "this process is fenced: its status counts for nothing");
    if (const auto there = seen.find(key); there != seen.end()) {
      const auto old = decode_node_status(there->second.value);
      if (old.ok() && old->peer.incarnation > record.peer.incarnation)
        return Error(Errc::kFenced, "a later process of this node speaks for it");
      if (old.ok() && *old == record) return Plan{};
    }
    return Plan{.ops = {Op::put(key, encode(record))}, .compares = {}};
  };
  update(store, {key, fence}, std::move(plan), without_revision(std::move(done)));
}

}  // namespace outlast::meta
