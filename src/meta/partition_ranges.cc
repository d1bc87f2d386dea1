#include "meta/partition_ranges.h"

#include <algorithm>
#include <boost/json.hpp>
#include <limits>

#include "meta/cas.h"
#include "meta/identity.h"
#include "meta/keys.h"

namespace outlast::meta {
namespace {

// etcd takes 128 operations and as many compares in one transaction; the creators' fences and records count, too.
constexpr std::size_t kRangesAtOnce = 48;
constexpr std::size_t kCreatorsAtOnce = 16;

const KeyValue* find(const Snapshot& seen, const std::string& key) {
  const auto it = seen.find(key);
  return it == seen.end() ? nullptr : &it->second;
}

Result<std::uint64_t> last_number(const Snapshot& seen) {
  const KeyValue* kv = find(seen, std::string(keys::kRangeCounter));
  if (kv == nullptr) return std::uint64_t{0};
  const auto last = keys::parse_number(kv->value);
  if (last && *last < std::numeric_limits<std::uint64_t>::max() - kRangesAtOnce) return *last;
  return Error(Errc::kCorrupt, "the metadata counter " + std::string(keys::kRangeCounter) + " holds no usable number");
}

Result<PartitionedRecord> stored_record(const Snapshot& seen, DatabaseId database, const std::string& table) {
  const KeyValue* kv = find(seen, keys::partitioned(database, table));
  if (kv == nullptr) return Error(Errc::kUndefinedTable, "relation \"" + table + "\" does not exist");
  return decode_partitioned(kv->value);
}

/// Adds ranges to one table, some in each transaction; what is there already is left alone, so any of them may be
/// repeated.
class Ranges : public std::enable_shared_from_this<Ranges> {
 public:
  Ranges(Store& store, PartitionedRecord record, std::vector<std::int64_t> slots, Creators creators,
         PartitionedState in, Callback<PartitionedRecord> done)
      : store_(store),
        record_(std::move(record)),
        slots_(std::move(slots)),
        creators_(std::move(creators)),
        in_(in),
        done_(std::move(done)) {}

  void go_on() {
    std::vector<std::string> read{keys::partitioned(record_.database, record_.table),
                                  keys::database(record_.database_name), std::string(keys::kRangeCounter)};
    std::ranges::rotate(
        creators_, creators_.begin() + static_cast<std::ptrdiff_t>(creators_.empty() ? 0 : turn_ % creators_.size()));
    turn_ = 0;
    at_once_.assign(creators_.begin(),
                    creators_.begin() + static_cast<std::ptrdiff_t>(std::min(creators_.size(), kCreatorsAtOnce)));
    for (const Creator& each : at_once_) {
      read.push_back(keys::fence({each.node, each.incarnation}));
      read.push_back(keys::node(each.node));
    }
    update(
        store_, std::move(read), [self = shared_from_this()](const Snapshot& seen) { return self->plan(seen); },
        [self = shared_from_this()](Result<Revision> written) {
          if (!written.ok()) return self->done_(std::move(written).error());
          if (!self->missing().empty()) return self->go_on();
          self->done_(std::move(self->record_));
        });
  }

 private:
  std::vector<std::int64_t> missing() const {
    std::vector<std::int64_t> out;
    for (const std::int64_t slot : slots_)
      if (record_.find(slot) == nullptr) out.push_back(slot);
    return out;
  }

  Result<void> check(const PartitionedRecord& stored, const Snapshot& seen) const {
    const KeyValue* database = find(seen, keys::database(record_.database_name));
    if (database != nullptr) {
      ASSIGN_OR_RETURN(const DatabaseRecord there, decode_database_record(database->value));
      if (there.id != record_.database) database = nullptr;
    }
    if (database == nullptr)
      return Error(Errc::kUndefinedDatabase, "database \"" + record_.database_name + "\" does not exist");
    if (stored.state != in_ || (in_ == PartitionedState::kCreating && stored.request != record_.request))
      return Error(Errc::kObjectInUse,
                   "table \"" + record_.table + "\" is being created or dropped; try again when that is over");
    return {};
  }

  /// Those of this turn that may still lead something. The record of a node that is being decommissioned is written
  /// anew with the range, so that a final step that has counted its replicas meanwhile finds it changed.
  Result<Creators> usable(const Snapshot& seen, Plan& next) const {
    Creators out;
    for (const Creator& each : at_once_) {
      if (find(seen, keys::fence({each.node, each.incarnation})) != nullptr) continue;
      if (const KeyValue* kv = find(seen, keys::node(each.node))) {
        ASSIGN_OR_RETURN(const NodeRecord node, decode_node_record(kv->value));
        if (node.membership == Membership::kDecommissioned) continue;
        if (node.membership == Membership::kDecommissioning) next.ops.push_back(Op::put(kv->key, kv->value));
      }
      out.push_back(each);
    }
    if (out.empty())
      return Error(Errc::kFenced, "no node takes new partitions at present; look at 'outlast node status', try again");
    return out;
  }

  Result<Plan> plan(const Snapshot& seen) {
    ASSIGN_OR_RETURN(const PartitionedRecord stored, stored_record(seen, record_.database, record_.table));
    TRY(check(stored, seen));
    record_ = stored;
    const auto wanted = missing();
    if (wanted.empty()) return Plan{};
    if (stored.partitions.size() + wanted.size() > kPartitionsOfTableMax)
      return Error(Errc::kFeatureLimit, "table \"" + record_.table + "\" has " + std::to_string(kPartitionsOfTableMax) +
                                            " partitions: no more are possible; use a longer INTERVAL");
    Plan next;
    ASSIGN_OR_RETURN(const Creators creators, usable(seen, next));
    ASSIGN_OR_RETURN(std::uint64_t number, last_number(seen));
    PartitionedRecord fuller = stored;
    ++fuller.version;
    for (turn_ = 0; turn_ < std::min(wanted.size(), kRangesAtOnce); ++turn_) {
      const Creator& creator = creators[turn_ % creators.size()];
      const RangeId range(++number);
      fuller.partitions.push_back({wanted[turn_], range, false});
      next.ops.push_back(Op::put(keys::range(range),
                                 placement::encode(placement::create_range(range, record_.database, creator.node,
                                                                           creator.store_uuid, creator.incarnation))));
    }
    next.ops.push_back(Op::put(std::string(keys::kRangeCounter), std::to_string(number)));
    next.ops.push_back(Op::put(keys::partitioned(record_.database, record_.table), encode(fuller)));
    record_ = std::move(fuller);
    return next;
  }

  Store& store_;
  PartitionedRecord record_;
  const std::vector<std::int64_t> slots_;
  Creators creators_, at_once_;
  const PartitionedState in_;
  std::size_t turn_{0};
  Callback<PartitionedRecord> done_;
};

PartitionedRecord first_record(const NewPartitioned& table) {
  return {.database = table.database,
          .database_name = table.database_name,
          .table = table.table,
          .state = PartitionedState::kCreating,
          .scheme = table.scheme,
          .partitions = {},
          .pending = {},
          .request = table.request,
          .owner = table.owner,
          .since_micros = table.wall_micros};
}
}  // namespace

void create_partitioned(Store& store, NewPartitioned table, Creators creators, Callback<PartitionedRecord> done) {
  const PartitionedRecord record = first_record(table);
  const std::string key = keys::partitioned(table.database, table.table);
  Planner plan = [record, key](const Snapshot& seen) -> Result<Plan> {
    const KeyValue* database = find(seen, keys::database(record.database_name));
    if (database == nullptr)
      return Error(Errc::kUndefinedDatabase, "database \"" + record.database_name + "\" does not exist");
    if (const KeyValue* kv = find(seen, key)) {
      ASSIGN_OR_RETURN(const PartitionedRecord stored, decode_partitioned(kv->value));
      if (stored.request == record.request) return Plan{};
      if (stored.state == PartitionedState::kReady)
        return Error(Errc::kDuplicateTable, "relation \"" + record.table + "\" already exists");
      return Error(Errc::kObjectInUse, "table \"" + record.table + "\" is being " +
                                           (stored.state == PartitionedState::kCreating ? "created" : "dropped") +
                                           "; try again when that is over");
    }
    return Plan{.ops = {Op::put(key, encode(record))}, .compares = {}};
  };
  update(store, {key, keys::database(table.database_name)}, std::move(plan),
         [&store, record, slots = std::move(table.slots), creators = std::move(creators),
          done = std::move(done)](Result<Revision> written) mutable {
           if (!written.ok()) return done(std::move(written).error());
           if (slots.empty()) return done(record);
           std::make_shared<Ranges>(store, record, std::move(slots), std::move(creators), PartitionedState::kCreating,
                                    std::move(done))
               ->go_on();
         });
}

void add_partition(Store& store, DatabaseId database, const std::string& table, std::int64_t slot, Creators creators,
                   Callback<PartitionedRecord> done) {
  read(store, keys::partitioned(database, table),
       [&store, table, slot, creators = std::move(creators),
        done = std::move(done)](Result<std::optional<KeyValue>> found) mutable {
         if (!found.ok()) return done(std::move(found).error());
         if (!*found) return done(Error(Errc::kUndefinedTable, "relation \"" + table + "\" does not exist"));
         auto record = decode_partitioned((*found)->value);
         if (!record.ok()) return done(std::move(record).error());
         if (record->find(slot) != nullptr && record->state == PartitionedState::kReady)
           return done(*std::move(record));
         std::make_shared<Ranges>(store, *std::move(record), std::vector{slot}, std::move(creators),
                                  PartitionedState::kReady, std::move(done))
             ->go_on();
       });
}

void change_partitioned(Store& store, DatabaseId database, const std::string& table, PartitionedChange change,
                        std::optional<ClusterEvent> event, Callback<PartitionedRecord> done) {
  const auto made = std::make_shared<PartitionedRecord>();
  Planner plan = [database, table, change = std::move(change), event = std::move(event),
                  made](const Snapshot& seen) -> Result<Plan> {
    ASSIGN_OR_RETURN(const PartitionedRecord now, stored_record(seen, database, table));
    ASSIGN_OR_RETURN(*made, change(now));
    if (*made == now) return Plan{};
    Plan next;
    next.ops.push_back(Op::put(keys::partitioned(database, table), encode(*made)));
    if (event) next.ops.push_back(event_op(*event));
    return next;
  };
  update(store, {keys::partitioned(database, table)}, std::move(plan),
         [made, done = std::move(done)](Result<Revision> written) mutable {
           if (!written.ok()) return done(std::move(written).error());
           done(*made);
         });
}

void drop_partition(Store& store, DatabaseId database, const std::string& table, PartitionRecord partition,
                    ClusterEvent event, Callback<void> done) {
  Planner plan = [database, table, partition, event = std::move(event)](const Snapshot& seen) -> Result<Plan> {
    ASSIGN_OR_RETURN(PartitionedRecord record, stored_record(seen, database, table));
    const PartitionRecord* there = record.find(partition.slot);
    if (there == nullptr || there->range != partition.range) return Plan{};
    if (record.state != PartitionedState::kReady || record.pending)
      return Error(Errc::kObjectInUse, "table \"" + table + "\" is being changed; try again when that is over");
    std::erase_if(record.partitions, [&](const PartitionRecord& each) { return each.range == partition.range; });
    ++record.version;
    return Plan{.ops = {Op::put(keys::partitioned(database, table), encode(record)),
                        Op::del(keys::range(partition.range)), event_op(event)},
                .compares = {}};
  };
  update(store, {keys::partitioned(database, table)}, std::move(plan), without_revision(std::move(done)));
}

void drop_partition_ranges(Store& store, DatabaseId database, const std::string& table, Callback<void> done) {
  const auto left = std::make_shared<std::size_t>(0);
  Planner plan = [database, table, left](const Snapshot& seen) -> Result<Plan> {
    *left = 0;
    const KeyValue* kv = find(seen, keys::partitioned(database, table));
    if (kv == nullptr) return Plan{};
    ASSIGN_OR_RETURN(PartitionedRecord record, decode_partitioned(kv->value));
    if (record.state != PartitionedState::kDropping)
      return Error(Errc::kInvalidState, "table \"" + table + "\" is not being dropped");
    Plan next;
    for (std::size_t n = 0; n < kRangesAtOnce && !record.partitions.empty(); ++n) {
      next.ops.push_back(Op::del(keys::range(record.partitions.back().range)));
      record.partitions.pop_back();
    }
    if (next.ops.empty()) return next;
    ++record.version;
    *left = record.partitions.size();
    next.ops.push_back(Op::put(kv->key, encode(record)));
    return next;
  };
  update(store, {keys::partitioned(database, table)}, std::move(plan),
         [&store, database, table, left, done = std::move(done)](Result<Revision> written) mutable {
           if (!written.ok()) return done(std::move(written).error());
           if (*left > 0) return drop_partition_ranges(store, database, table, std::move(done));
           done({});
         });
}

void forget_partitioned(Store& store, DatabaseId database, const std::string& table, ClusterEvent event,
                        Callback<void> done) {
  Planner plan = [database, table, event = std::move(event)](const Snapshot& seen) -> Result<Plan> {
    const KeyValue* kv = find(seen, keys::partitioned(database, table));
    if (kv == nullptr) return Plan{};
    ASSIGN_OR_RETURN(const PartitionedRecord record, decode_partitioned(kv->value));
    if (record.state != PartitionedState::kDropping || !record.partitions.empty())
      return Error(Errc::kInvalidState, "table \"" + table + "\" still has partitions");
    return Plan{.ops = {Op::del(kv->key), event_op(event)}, .compares = {}};
  };
  update(store, {keys::partitioned(database, table)}, std::move(plan), without_revision(std::move(done)));
}

}  // namespace outlast::meta
