#include "meta/rebuild.h"

#include <algorithm>
#include <memory>

#include "meta/cas.h"
#include "meta/databases.h"
#include "meta/events.h"
#include "meta/identity.h"
#include "meta/keys.h"
#include "placement/recovery.h"

namespace outlast::meta {
namespace {
using placement::RangeConfig;
using placement::ReplicaRef;
using Action = RebuildLine::Action;

auto age(const RangeConfig& config) {
  return std::pair(config.epoch, config.cfg);
}
std::string age_text(const RangeConfig& config) {
  return "epoch " + config.epoch.to_string() + ", configuration " + config.cfg.to_string();
}

/// The replicas of one range that were found, and the highest configuration among them.
struct RangeFindings {
  std::vector<const FoundReplica*> replicas;
  const FoundReplica* best{nullptr};
  bool contradiction{false};  ///< Two different configurations claim the same epoch and number.

  void add(const FoundReplica& replica) {
    replicas.push_back(&replica);
    if (!replica.accepted) return;
    if (best == nullptr || age(*replica.accepted) > age(*best->accepted)) {
      best = &replica;
      contradiction = false;
    } else if (age(*replica.accepted) == age(*best->accepted) && *replica.accepted != *best->accepted) {
      contradiction = true;
    }
  }
  const FoundReplica* find(const ReplicaRef& ref) const {
    const auto it = std::ranges::find_if(replicas, [&](const FoundReplica* found) { return found->replica == ref; });
    return it == replicas.end() ? nullptr : *it;
  }
};

/// In-sync replicas of the highest configuration that did not say what they accepted: one of them may know a higher.
std::string unheard(const RangeFindings& found, const Findings& all) {
  std::string out;
  for (const ReplicaRef& member : found.best->accepted->insync) {
    const FoundReplica* heard = found.find(member);
    if (heard != nullptr && heard->accepted) continue;
    const bool store_heard =
        std::ranges::any_of(all.stores, [&](const FoundStore& store) { return store.uuid == member.store_uuid; });
    std::string what = "node " + member.node.to_string() + " (store " + member.store_uuid + ")";
    if (heard != nullptr)
      what += " cannot be read: " + heard->trouble;
    else
      what += store_heard ? " has lost its replica" : " was not asked or did not answer";
    out += (out.empty() ? "" : "; ") + what;
  }
  return out;
}

/// A free name for a database whose own is lost.
std::string recovered_name(DatabaseId id, std::set<std::string>& names) {
  std::string name = "recovered_" + id.to_string();
  while (!names.insert(name).second) name += "_";
  return name;
}

void decide(RebuildLine& line, const RangeFindings& found, const Findings& all, bool was_given_out,
            bool allow_missing) {
  if (found.best == nullptr) {
    line.why = found.replicas.empty() ? "no replica of it was found" : "no replica of it says what it accepted";
    return;
  }
  line.found = found.best->accepted;
  line.found_on = found.best->replica.node;
  if (line.record && age(*line.record) >= age(*line.found)) {
    line.why = "the record is up to date";
    return;
  }
  if (!line.seen && was_given_out) {
    line.why = "dropped before this metadata was copied; its replicas delete themselves";
    return;
  }
  const std::string missing = unheard(found, all);
  line.action = missing.empty() || allow_missing ? Action::kWrite : Action::kRefuse;
  if (found.contradiction) {
    line.action = Action::kRefuse;
    line.why = "two replicas accepted different configurations under one number (" + age_text(*line.found) +
               "): report this; `outlast range recover --unsafe` chooses one replica by hand";
    return;
  }
  line.why = line.record ? "the record is older" : line.seen ? "the record is unreadable" : "the record is missing";
  if (!missing.empty())
    line.why += "; a higher configuration may exist: " + missing +
                (allow_missing ? "" : ". Give all of them, or say --allow-missing");
  line.next = placement::rebuilt_record(*line.found, line.record ? &*line.record : nullptr, missing.empty());
}

void raise(RebuildPlan& plan, const MetaImage& image, const std::string& key, std::uint64_t value) {
  if (value <= image.counter(key)) return;
  std::uint64_t& wanted = plan.counters[key];
  wanted = std::max(wanted, value);
}

/// Nothing that a store or a configuration has seen may be given out again.
void raise_counters(RebuildPlan& plan, const MetaImage& image, const Findings& found) {
  for (const FoundStore& store : found.stores) {
    raise(plan, image, std::string(keys::kNodeCounter), store.node.value);
    raise(plan, image, keys::incarnation(store.node), store.incarnation.value);
  }
  for (const FoundReplica& replica : found.replicas) {
    raise(plan, image, std::string(keys::kRangeCounter), replica.range.value);
    if (!replica.accepted) continue;
    raise(plan, image, std::string(keys::kDatabaseCounter), replica.accepted->database.value);
    for (const auto* refs : {&replica.accepted->insync, &replica.accepted->learners})
      for (const ReplicaRef& ref : *refs) raise(plan, image, std::string(keys::kNodeCounter), ref.node.value);
    if (const auto& holder = replica.accepted->leaseholder)
      raise(plan, image, keys::incarnation(holder->node), holder->incarnation.value);
  }
}

Result<std::string> cluster_of(const MetaImage& image, const Findings& found) {
  std::string cluster = image.cluster;
  for (const FoundStore& store : found.stores) {
    if (store.cluster.empty()) continue;  // a live node: it was admitted to this cluster
    if (cluster.empty()) cluster = store.cluster;
    if (store.cluster != cluster)
      return Error(Errc::kWrongCluster, "the store " + store.uuid + " of node " + store.node.to_string() +
                                            " belongs to cluster " + store.cluster + ", not to " + cluster +
                                            "; nothing was changed");
  }
  return image.cluster.empty() ? cluster : std::string();
}

}  // namespace

std::string_view to_string(Action action) {
  switch (action) {
    case Action::kKeep:
      return "keep";
    case Action::kWrite:
      return "write";
    case Action::kRefuse:
      return "refuse";
  }
  return "refuse";
}

std::uint64_t MetaImage::counter(std::string_view key) const {
  const auto it = counters.find(std::string(key));
  return it == counters.end() ? 0 : it->second;
}

bool RebuildPlan::writes() const {
  return !counters.empty() || !cluster.empty() ||
         std::ranges::any_of(lines, [](const RebuildLine& line) { return line.action == Action::kWrite; });
}

Result<RebuildPlan> plan_rebuild(const MetaImage& image, const Findings& found, bool allow_missing) {
  RebuildPlan plan;
  ASSIGN_OR_RETURN(plan.cluster, cluster_of(image, found));
  std::map<RangeId, RangeFindings> by_range;
  for (const auto& [range, record] : image.ranges) by_range[range];
  for (const FoundReplica& replica : found.replicas) by_range[replica.range].add(replica);
  std::set<std::string> names = image.names;
  for (const auto& [range, replicas] : by_range) {
    RebuildLine& line = plan.lines.emplace_back();
    line.range = range;
    if (const auto it = image.ranges.find(range); it != image.ranges.end()) {
      line.record = it->second.config;
      line.seen = it->second.revision;
    }
    if (const auto it = image.database_of.find(range); it != image.database_of.end()) line.database = it->second;
    decide(line, replicas, found, range.value <= image.counter(keys::kRangeCounter), allow_missing);
    if (line.database.empty() && line.action == Action::kWrite) {
      line.new_database = true;
      line.database = recovered_name(line.next.database, names);
    }
  }
  raise_counters(plan, image, found);
  return plan;
}

// Reading and writing.

namespace {

constexpr std::string_view kCounters[] = {keys::kNodeCounter, keys::kRangeCounter, keys::kDatabaseCounter};

MetaImage image_from(const TxnReply& reply, std::string cluster) {
  MetaImage image;
  image.cluster = std::move(cluster);
  for (const KeyValue& kv : reply.replies[0].kvs) {
    const auto id = keys::parse_number(keys::rest(kv.key, keys::kRanges));
    if (!id) continue;
    auto config = placement::decode_range_config(kv.value);
    MetaImage::Record& record = image.ranges[RangeId(*id)];
    record.revision = kv.mod_revision;
    if (config.ok() && config->range.value == *id) record.config = *std::move(config);
  }
  for (const KeyValue& kv : reply.replies[1].kvs) {
    image.names.emplace(keys::rest(kv.key, keys::kDatabases));
    if (const auto record = decode_database_record(kv.value); record.ok())
      image.database_of[record->range] = record->name;
  }
  for (std::size_t i = 2; i < reply.replies.size(); ++i)
    for (const KeyValue& kv : reply.replies[i].kvs)
      if (const auto value = keys::parse_number(kv.value)) image.counters[kv.key] = *value;
  return image;
}

/// One run of a plan; keeps itself alive through the callbacks it hands to the store.
class CarryOut : public std::enable_shared_from_this<CarryOut> {
 public:
  CarryOut(Store& store, RebuildPlan plan, NodeId by, std::int64_t wall_micros, Callback<RebuildPlan> done)
      : store_(store), plan_(std::move(plan)), by_(by), wall_micros_(wall_micros), done_(std::move(done)) {}

  void start() {
    if (plan_.cluster.empty()) return counters();
    init_cluster(store_, plan_.cluster, wall_micros_, [self = shared_from_this()](Result<void> made) {
      if (!made.ok()) return self->done_(std::move(made).error());
      self->counters();
    });
  }

 private:
  /// All in one transaction: there are few nodes.
  void counters() {
    if (plan_.counters.empty()) return next_line(0);
    std::vector<std::string> read;
    for (const auto& [key, value] : plan_.counters) read.push_back(key);
    Planner planner = [wanted = plan_.counters](const Snapshot& seen) -> Result<Plan> {
      Plan next;
      for (const auto& [key, value] : wanted) {
        const auto it = seen.find(key);
        const auto present = it == seen.end() ? std::nullopt : keys::parse_number(it->second.value);
        if (!present || *present < value) next.ops.push_back(Op::put(key, std::to_string(value)));
      }
      return next;
    };
    update(store_, std::move(read), std::move(planner), [self = shared_from_this()](Result<Revision> written) {
      if (!written.ok()) return self->done_(std::move(written).error());
      self->next_line(0);
    });
  }

  void next_line(std::size_t i) {
    while (i < plan_.lines.size() && plan_.lines[i].action != Action::kWrite) ++i;
    if (i == plan_.lines.size()) return done_(std::move(plan_));
    const RebuildLine& line = plan_.lines[i];
    std::vector<std::string> read{keys::range(line.range)};
    if (line.new_database) read.push_back(keys::database(line.database));
    update(
        store_, std::move(read),
        [self = shared_from_this(), i](const Snapshot& seen) { return self->plan_line(self->plan_.lines[i], seen); },
        [self = shared_from_this(), i](const Result<Revision>& written) {
          self->plan_.lines[i].outcome = written.ok() ? "written" : written.error().message;
          self->next_line(i + 1);
        });
  }

  Result<Plan> plan_line(const RebuildLine& line, const Snapshot& seen) const {
    const std::string key = keys::range(line.range), value = placement::encode(line.next);
    const auto it = seen.find(key);
    Plan next;
    if (it != seen.end() && it->second.value == value) return next;  // our own write, whose answer was lost
    if ((it == seen.end() ? Revision() : it->second.mod_revision) != line.seen)
      return Error(Errc::kMetaConflict, "the record was changed meanwhile; look again");
    next.ops.push_back(Op::put(key, value));
    if (line.new_database) {
      if (seen.contains(keys::database(line.database)))
        return Error(Errc::kMetaConflict, "the database name was taken meanwhile; look again");
      const DatabaseRecord record{line.next.database, line.database, line.range, wall_micros_, "meta rebuild"};
      next.ops.push_back(Op::put(keys::database(line.database), encode(record)));
    }
    next.ops.push_back(event_op({.time_micros = wall_micros_,
                                 .type = "range_record_rebuilt",
                                 .node = by_,
                                 .details = {{"range", line.range.value},
                                             {"database", line.database},
                                             {"epoch", line.next.epoch.value},
                                             {"found_on", line.found_on.value},
                                             {"clean", line.next.clean},
                                             {"why", line.why}}}));
    return next;
  }

  Store& store_;
  RebuildPlan plan_;
  const NodeId by_;
  const std::int64_t wall_micros_;
  Callback<RebuildPlan> done_;
};

}  // namespace

void read_image(Store& store, Callback<MetaImage> done) {
  read_cluster(store, [&store, done = std::move(done)](Result<ClusterRecord> cluster) mutable {
    if (!cluster.ok() && cluster.error().code != Errc::kNotInitialised) return done(std::move(cluster).error());
    Txn txn;
    for (const std::string_view prefix : {keys::kRanges, keys::kDatabases, keys::kIncarnations})
      txn.then.push_back(Op::get_prefix(std::string(prefix)));
    for (const std::string_view key : kCounters) txn.then.push_back(Op::get(std::string(key)));
    store.txn(
        std::move(txn), kMetaTimeout,
        [id = cluster.ok() ? cluster->id : std::string(), done = std::move(done)](Result<TxnReply> reply) mutable {
          if (!reply.ok()) return done(std::move(reply).error());
          done(image_from(*reply, std::move(id)));
        });
  });
}

void carry_out(Store& store, RebuildPlan plan, NodeId by, std::int64_t wall_micros, Callback<RebuildPlan> done) {
  std::make_shared<CarryOut>(store, std::move(plan), by, wall_micros, std::move(done))->start();
}

}  // namespace outlast::meta
