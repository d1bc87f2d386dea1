#include "meta/drains.h"

#include "meta/cas.h"
#include "meta/events.h"
#include "meta/json_fields.h"
#include "meta/keys.h"

namespace outlast::meta {

std::string encode(const DrainRecord& record) {
  return boost::json::serialize(boost::json::object{{"node", record.peer.node.value},
                                                    {"incarnation", record.peer.incarnation.value},
                                                    {"since", record.since_micros},
                                                    {"by", record.by},
                                                    {"force", record.force ? 1 : 0},
                                                    {"step_out", record.step_out ? 1 : 0},
                                                    {"drained", record.drained ? 1 : 0},
                                                    {"leave", record.leave ? 1 : 0}});
}

Result<DrainRecord> decode_drain_record(std::string_view text) {
  ASSIGN_OR_RETURN(JsonFields fields, JsonFields::parse(text, "a drain record"));
  DrainRecord record{
      .peer = {NodeId(static_cast<std::uint32_t>(fields.number("node"))), Incarnation(fields.number("incarnation"))},
      .since_micros = fields.signed_number("since"),
      .by = fields.text("by"),
      .force = fields.number("force") != 0,
      .step_out = fields.number("step_out") != 0,
      .drained = fields.number("drained") != 0,
      .leave = fields.number("leave") != 0};
  TRY(fields.check());
  return record;
}

std::unique_ptr<DrainMirror> mirror_drains(Store& store) {
  return std::make_unique<DrainMirror>(store, std::string(keys::kDrains), [](std::string_view, std::string_view value) {
    return decode_drain_record(value);
  });
}

DrainMirror::EntryPtr drain_of(const DrainMirror& drains, liveness::Peer peer) {
  auto entry = drains.find(keys::drain(peer.node));
  return entry && entry->value.peer == peer ? entry : nullptr;
}

void record_drain(Store& store, DrainRecord record, Callback<void> done) {
  const std::string key = keys::drain(record.peer.node), fence = keys::fence(record.peer);
  const ClusterEvent event{.time_micros = record.since_micros,
                           .type = "node_draining",
                           .node = record.peer.node,
                           .details = {{"incarnation", record.peer.incarnation.value}, {"by", record.by}}};
  Planner plan = [record = std::move(record), key, fence,
                  noted = event_op(event)](const Snapshot& seen) -> Result<Plan> {
    if (seen.contains(fence)) return Error(Errc::kFenced, "this process is fenced: there is nothing left to drain");
    Plan next;
    const auto there = seen.find(key);
    const auto old = there == seen.end() ? Result<DrainRecord>(Error(Errc::kNotFound, ""))
                                         : decode_drain_record(there->second.value);
    if (old.ok() && *old == record) return next;
    next.ops = {Op::put(key, encode(record))};
    if (!old.ok() || old->peer != record.peer) next.ops.push_back(noted);
    return next;
  };
  update(store, {key, fence}, std::move(plan), without_revision(std::move(done)));
}

void erase_drain(Store& store, liveness::Peer peer, std::int64_t wall_micros, Callback<void> done) {
  const std::string key = keys::drain(peer.node);
  const ClusterEvent event{.time_micros = wall_micros,
                           .type = "node_undrained",
                           .node = peer.node,
                           .details = {{"incarnation", peer.incarnation.value}}};
  Planner plan = [key, peer, noted = event_op(event)](const Snapshot& seen) -> Result<Plan> {
    Plan next;
    const auto there = seen.find(key);
    if (there == seen.end()) return next;
    if (const auto old = decode_drain_record(there->second.value); old.ok() && old->peer != peer) return next;
    next.ops = {Op::del(key), noted};
    return next;
  };
  update(store, {key}, std::move(plan), without_revision(std::move(done)));
}

}  // namespace outlast::meta
