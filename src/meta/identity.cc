#include "meta/identity.h"

#include <limits>
#include <memory>

#include "meta/cas.h"
#include "meta/json_fields.h"
#include "meta/keys.h"

namespace outlast::meta {
namespace {

Result<ClusterRecord> decode_cluster(std::string_view text) {
  ASSIGN_OR_RETURN(JsonFields fields, JsonFields::parse(text, "the cluster record"));
  ClusterRecord record{.id = fields.text("id"), .created_micros = fields.signed_number("created")};
  TRY(fields.check());
  return record;
}

Error gone_for_good(NodeId node) {
  return {Errc::kInvalidState,
          "node " + node.to_string() + " is decommissioned for good; start it with an empty store to join anew"};
}

Result<void> check_not_decommissioned(NodeId node, const Snapshot& seen) {
  const auto it = seen.find(keys::node(node));
  if (it == seen.end()) return {};
  ASSIGN_OR_RETURN(const NodeRecord stored, decode_node_record(it->second.value));
  if (stored.membership == Membership::kDecommissioned) return gone_for_good(node);
  return {};
}

/// Draws the next number of the counter under `key`. A lost answer skips a number: nobody else gets it either.
/// With a node: only while that is not decommissioned.
template <class Id>
void draw(Store& store, std::string key, Callback<Id> done, NodeId of = {}) {
  auto drawn = std::make_shared<Id>();
  std::vector<std::string> looked_at{key};
  if (of) looked_at.push_back(keys::node(of));
  Planner plan = [key, drawn, of](const Snapshot& seen) -> Result<Plan> {
    if (of) TRY(check_not_decommissioned(of, seen));
    std::uint64_t last = 0;
    if (const auto it = seen.find(key); it != seen.end()) {
      const auto number = keys::parse_number(it->second.value);
      if (!number || *number >= std::numeric_limits<typename Id::rep>::max())
        return Error(Errc::kCorrupt, "the metadata counter " + key + " holds no usable number");
      last = *number;
    }
    *drawn = Id(static_cast<typename Id::rep>(last + 1));
    Plan next;
    next.ops.push_back(Op::put(key, drawn->to_string()));
    return next;
  };
  update(store, std::move(looked_at), std::move(plan),
         [drawn, done = std::move(done)](Result<Revision> written) mutable {
           if (!written.ok()) return done(std::move(written).error());
           done(*drawn);
         });
}

Result<Membership> parse_membership(std::string_view text) {
  for (const auto membership : {Membership::kActive, Membership::kDecommissioning, Membership::kDecommissioned})
    if (to_string(membership) == text) return membership;
  return Error(Errc::kCorrupt, "a node record has the unknown membership \"" + std::string(text) + "\"");
}

/// What to store for a node that registers, given what is stored.
Result<NodeRecord> merge_registration(NodeRecord record, const Snapshot& seen) {
  const auto it = seen.find(keys::node(record.node));
  if (it == seen.end()) return record;
  ASSIGN_OR_RETURN(const NodeRecord stored, decode_node_record(it->second.value));
  if (stored.store_uuid != record.store_uuid)
    return Error(Errc::kWrongCluster, "node " + record.node.to_string() + " is registered with the store " +
                                          stored.store_uuid + ", not " + record.store_uuid +
                                          "; a wiped or copied store must join as a new node");
  if (stored.membership == Membership::kDecommissioned) return gone_for_good(record.node);
  record.membership = stored.membership;
  record.membership_by = stored.membership_by;
  record.membership_since_micros = stored.membership_since_micros;
  record.store = stored.store;
  return record;
}

}  // namespace

std::string encode(const NodeRecord& record) {
  boost::json::object fields{{"node", record.node.value},
                             {"store", record.store_uuid},
                             {"rpc", record.rpc_addr},
                             {"sql", record.sql_addr},
                             {"http", record.http_addr},
                             {"build", record.build},
                             {"incarnation", record.incarnation.value},
                             {"started", record.started_micros},
                             {"membership", std::string(to_string(record.membership))},
                             {"log_format", record.log_format},
                             {"roles", placement::to_string(record.roles)},
                             {"frontend", record.roles.frontend ? 1 : 0}};
  if (record.membership_by) {
    fields["membership_by"] = record.membership_by.value;
    fields["membership_since"] = record.membership_since_micros;
  }
  if (!record.locality.tiers.empty()) fields["locality"] = placement::to_string(record.locality);
  if (!record.store.failure.empty()) fields["store_failure"] = record.store.failure;
  if (record.store.unmarked) fields["store_unmarked"] = 1;
  return boost::json::serialize(fields);
}

Result<NodeRecord> decode_node_record(std::string_view text) {
  ASSIGN_OR_RETURN(JsonFields fields, JsonFields::parse(text, "a node record"));
  NodeRecord record;
  record.node = NodeId(static_cast<NodeId::rep>(fields.number("node")));
  record.store_uuid = fields.text("store");
  record.rpc_addr = fields.text("rpc");
  record.sql_addr = fields.text("sql");
  record.http_addr = fields.text("http");
  record.build = fields.text("build");
  record.incarnation = Incarnation(fields.number("incarnation"));
  record.started_micros = fields.signed_number("started");
  record.log_format = static_cast<std::uint32_t>(fields.number("log_format", 1));
  record.store.failure = fields.text("store_failure");
  record.store.unmarked = fields.number("store_unmarked") != 0;
  record.membership_by = NodeId(static_cast<NodeId::rep>(fields.number("membership_by")));
  record.membership_since_micros = fields.signed_number("membership_since");
  record.roles.frontend = fields.number("frontend", 1) != 0;  // all that the first programs knew of roles
  const std::string roles = fields.text("roles");
  const std::string membership = fields.text("membership", "active");
  const std::string locality = fields.text("locality");
  TRY(fields.check());
  ASSIGN_OR_RETURN(record.membership, parse_membership(membership));
  if (!roles.empty()) {
    ASSIGN_OR_RETURN(record.roles, placement::parse_roles(roles));
  }
  if (!locality.empty()) {
    ASSIGN_OR_RETURN(record.locality, placement::parse_locality(locality));
  }
  return record;
}

void init_cluster(Store& store, std::string cluster_id, std::int64_t wall_micros, Callback<void> done) {
  const std::string key(keys::kCluster);
  Planner plan = [key, cluster_id = std::move(cluster_id), wall_micros](const Snapshot& seen) -> Result<Plan> {
    Plan next;
    if (const auto it = seen.find(key); it != seen.end()) {
      ASSIGN_OR_RETURN(const ClusterRecord stored, decode_cluster(it->second.value));
      if (stored.id == cluster_id) return next;
      return Error(Errc::kAlreadyInitialised, "the cluster is initialised already, with the id " + stored.id);
    }
    next.ops.push_back(
        Op::put(key, boost::json::serialize(boost::json::object{{"id", cluster_id}, {"created", wall_micros}})));
    return next;
  };
  update(store, {key}, std::move(plan), without_revision(std::move(done)));
}

void read_cluster(Store& store, Callback<ClusterRecord> done) {
  read(store, std::string(keys::kCluster), [done = std::move(done)](Result<std::optional<KeyValue>> kv) mutable {
    if (!kv.ok()) return done(std::move(kv).error());
    if (!*kv) return done(Error(Errc::kNotInitialised, "the cluster is not initialised yet; run outlast init"));
    done(decode_cluster((*kv)->value));
  });
}

void allocate_node_id(Store& store, Callback<NodeId> done) {
  draw<NodeId>(store, std::string(keys::kNodeCounter), std::move(done));
}

void draw_incarnation(Store& store, NodeId node, Callback<Incarnation> done) {
  draw<Incarnation>(store, keys::incarnation(node), std::move(done), node);
}

void register_node(Store& store, NodeRecord record, Callback<NodeRecord> done) {
  const std::string key = keys::node(record.node);
  auto stored = std::make_shared<NodeRecord>();
  Planner plan = [key, stored, record = std::move(record)](const Snapshot& seen) -> Result<Plan> {
    ASSIGN_OR_RETURN(*stored, merge_registration(record, seen));
    Plan next;
    next.ops.push_back(Op::put(key, encode(*stored)));
    return next;
  };
  update(store, {key}, std::move(plan), [stored, done = std::move(done)](Result<Revision> written) mutable {
    if (!written.ok()) return done(std::move(written).error());
    done(*stored);
  });
}

void report_store(Store& store, NodeId node, StoreReport report, Callback<void> done) {
  const std::string key = keys::node(node);
  Planner plan = [key, node, report = std::move(report)](const Snapshot& seen) -> Result<Plan> {
    const auto it = seen.find(key);
    if (it == seen.end()) return Error(Errc::kNotFound, "node " + node.to_string() + " has no record");
    ASSIGN_OR_RETURN(NodeRecord record, decode_node_record(it->second.value));
    Plan next;
    if (record.store == report) return next;
    record.store = report;
    next.ops.push_back(Op::put(key, encode(record)));
    return next;
  };
  update(store, {key}, std::move(plan), without_revision(std::move(done)));
}

}  // namespace outlast::meta
