#include "meta/events.h"

#include <algorithm>
#include <cstdio>
#include <random>

#include "meta/cas.h"
#include "meta/json_fields.h"
#include "meta/keys.h"

namespace outlast::meta {
namespace {
/// Time first, so that keys come nearly in order; the random tail keeps two writers of one microsecond apart.
std::string new_key(const ClusterEvent& event) {
  thread_local std::mt19937_64 tail{std::random_device{}()};
  char text[64];
  std::snprintf(text, sizeof text, "%016llx.%u.%016llx", static_cast<unsigned long long>(event.time_micros),
                static_cast<unsigned>(event.node.value), static_cast<unsigned long long>(tail()));
  return std::string(keys::kEvents) + text;
}

Result<ClusterEvent> decode(std::string_view value) {
  ASSIGN_OR_RETURN(JsonFields fields, JsonFields::parse(value, "an event"));
  ClusterEvent event{.time_micros = fields.signed_number("time"),
                     .type = fields.text("type"),
                     .node = NodeId(static_cast<NodeId::rep>(fields.number("node"))),
                     .details = fields.object()};
  TRY(fields.check());
  for (const char* name : {"time", "type", "node"}) event.details.stable_erase(name);
  return event;
}

/// All events, oldest commit first.
void read_all(Store& store, Callback<std::vector<KeyValue>> done) {
  Txn txn;
  txn.then.push_back(Op::get_prefix(std::string(keys::kEvents)));
  store.txn(std::move(txn), kMetaTimeout, [done = std::move(done)](Result<TxnReply> reply) mutable {
    if (!reply.ok()) return done(std::move(reply).error());
    std::vector<KeyValue> all = std::move(reply->replies[0].kvs);
    std::ranges::stable_sort(all, {}, &KeyValue::create_revision);
    done(std::move(all));
  });
}
}  // namespace

Op event_op(const ClusterEvent& event) {
  boost::json::object object{{"time", event.time_micros}, {"type", event.type}, {"node", event.node.value}};
  for (const auto& field : event.details) object.emplace(field.key(), field.value());  // never over the three above
  return Op::put(new_key(event), boost::json::serialize(object));
}

void append_event(Store& store, const ClusterEvent& event, Callback<void> done) {
  Txn txn;
  txn.then.push_back(event_op(event));
  store.txn(std::move(txn), kMetaTimeout, [done = std::move(done)](Result<TxnReply> reply) mutable {
    if (!reply.ok()) return done(std::move(reply).error());
    done({});
  });
}

void read_events(Store& store, std::size_t count, Callback<std::vector<ClusterEvent>> done) {
  read_all(store, [count, done = std::move(done)](Result<std::vector<KeyValue>> all) mutable {
    if (!all.ok()) return done(std::move(all).error());
    std::vector<ClusterEvent> events;
    for (auto kv = all->rbegin(); kv != all->rend() && events.size() < count; ++kv)
      if (auto event = decode(kv->value); event.ok()) events.push_back(*std::move(event));
    done(std::move(events));
  });
}

void prune_events(Store& store, std::size_t keep, Callback<std::size_t> done) {
  read_all(store, [&store, keep, done = std::move(done)](Result<std::vector<KeyValue>> all) mutable {
    if (!all.ok()) return done(std::move(all).error());
    std::vector<std::string> doomed;
    for (std::size_t i = 0; i + keep < all->size(); ++i) doomed.push_back(std::move((*all)[i].key));
    erase(store, std::move(doomed), std::move(done));
  });
}

}  // namespace outlast::meta
