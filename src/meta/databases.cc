#include "meta/databases.h"

#include <atomic>
#include <limits>
#include <memory>
#include <optional>

#include "meta/cas.h"
#include "meta/events.h"
#include "meta/identity.h"
#include "meta/json_fields.h"
#include "meta/keys.h"

namespace outlast::meta {
namespace {

constexpr std::size_t kNameBytesMax = 63;  // PostgreSQL's NAMEDATALEN - 1

const KeyValue* find(const Snapshot& seen, std::string_view key) {
  const auto it = seen.find(std::string(key));
  return it == seen.end() ? nullptr : &it->second;
}

Result<std::uint64_t> next_number(const Snapshot& seen, std::string_view counter) {
  const KeyValue* kv = find(seen, counter);
  if (kv == nullptr) return std::uint64_t{1};
  const auto last = keys::parse_number(kv->value);
  if (last && *last < std::numeric_limits<std::uint64_t>::max()) return *last + 1;
  return Error(Errc::kCorrupt, "the metadata counter " + std::string(counter) + " holds no usable number");
}

Op database_event(const char* type, const DatabaseRecord& record, NodeId by, std::int64_t wall_micros) {
  return event_op({.time_micros = wall_micros,
                   .type = type,
                   .node = by,
                   .details = {{"database", record.name}, {"id", record.id.value}, {"range", record.range.value}}});
}

/// Everything that one CREATE DATABASE writes; remembers its ids, so that it knows its own success again.
class Creation {
 public:
  Creation(std::string name, Creator creator, std::int64_t wall_micros)
      : creator_(std::move(creator)), wall_micros_(wall_micros) {
    record_.name = std::move(name);
    record_.created_micros = wall_micros;
    static std::atomic<std::uint64_t> requests{0};
    record_.request = creator_.node.to_string() + "." + creator_.incarnation.to_string() + "." +
                      std::to_string(requests.fetch_add(1, std::memory_order_relaxed));
  }
  Result<Plan> found_ours(const DatabaseRecord& stored) {
    record_ = stored;
    return Plan{};
  }
  std::string fence() const { return keys::fence({creator_.node, creator_.incarnation}); }
  std::vector<std::string> keys_read() const {
    return {keys::database(record_.name), std::string(keys::kDatabaseCounter), std::string(keys::kRangeCounter),
            fence(), keys::node(creator_.node)};
  }
  const DatabaseRecord& record() const { return record_; }

  Result<Plan> plan(const Snapshot& seen) {
    if (const KeyValue* kv = find(seen, keys::database(record_.name))) {
      ASSIGN_OR_RETURN(const DatabaseRecord stored, decode_database_record(kv->value));
      if (stored.request == record_.request) return found_ours(stored);  // the answer to our own write was lost
      return Error(Errc::kDuplicateDatabase, "database \"" + record_.name + "\" already exists");
    }
    if (find(seen, fence()) != nullptr)
      return Error(Errc::kFenced, "this process was declared finished; connect to another node and try again");
    Plan next;
    TRY(look_at_node(seen, next));
    ASSIGN_OR_RETURN(const std::uint64_t database, next_number(seen, keys::kDatabaseCounter));
    ASSIGN_OR_RETURN(const std::uint64_t range, next_number(seen, keys::kRangeCounter));
    record_.id = DatabaseId(database);
    record_.range = RangeId(range);
    const auto config =
        placement::create_range(record_.range, record_.id, creator_.node, creator_.store_uuid, creator_.incarnation);
    next.ops.push_back(Op::put(std::string(keys::kDatabaseCounter), record_.id.to_string()));
    next.ops.push_back(Op::put(std::string(keys::kRangeCounter), record_.range.to_string()));
    next.ops.push_back(Op::put(keys::database(record_.name), encode(record_)));
    next.ops.push_back(Op::put(keys::range(record_.range), placement::encode(config)));
    next.ops.push_back(database_event("create_database", record_, creator_.node, wall_micros_));
    return next;
  }

 private:
  /// A decommissioning node still serves its clients. Its record is written anew with the range, so that a final step
  /// that has counted its replicas meanwhile finds it changed.
  Result<void> look_at_node(const Snapshot& seen, Plan& next) const {
    const KeyValue* kv = find(seen, keys::node(creator_.node));
    if (kv == nullptr) return {};
    ASSIGN_OR_RETURN(const NodeRecord node, decode_node_record(kv->value));
    if (node.membership == Membership::kDecommissioned)
      return Error(Errc::kFenced, "this node is decommissioned; connect to another node and try again");
    if (node.membership == Membership::kDecommissioning) next.ops.push_back(Op::put(kv->key, kv->value));
    return {};
  }

  DatabaseRecord record_;
  const Creator creator_;
  const std::int64_t wall_micros_;
};

/// One DROP DATABASE. After a lost answer an absent record is taken for its own success.
class Removal {
 public:
  Removal(std::string name, NodeId by, std::int64_t wall_micros)
      : name_(std::move(name)), by_(by), wall_micros_(wall_micros) {}
  DatabaseRecord dropped() const { return *dropped_; }

  Result<Plan> plan(const Snapshot& seen) {
    const KeyValue* kv = find(seen, keys::database(name_));
    if (kv == nullptr && dropped_) return Plan{};
    if (kv == nullptr) return Error(Errc::kUndefinedDatabase, "database \"" + name_ + "\" does not exist");
    ASSIGN_OR_RETURN(const DatabaseRecord stored, decode_database_record(kv->value));
    if (dropped_ && dropped_->id != stored.id) return Plan{};  // ours is gone, another one was made under its name
    dropped_ = stored;
    Plan next;
    next.ops.push_back(Op::del(keys::database(name_)));
    next.ops.push_back(Op::del(keys::range(stored.range)));
    next.ops.push_back(database_event("drop_database", stored, by_, wall_micros_));
    return next;
  }

 private:
  const std::string name_;
  const NodeId by_;
  const std::int64_t wall_micros_;
  std::optional<DatabaseRecord> dropped_;
};

Result<void> check_replication_factor(int replicas) {
  if (replicas == 0 || (replicas >= 1 && replicas <= 7 && (replicas <= 3 || replicas % 2 == 1))) return {};
  return Error(Errc::kInvalidArgument, "a replication factor is 1, 2, 3, 5 or 7, not " + std::to_string(replicas));
}

}  // namespace

std::string encode(const DatabaseRecord& record) {
  boost::json::object fields{{"id", record.id.value},
                             {"name", record.name},
                             {"range", record.range.value},
                             {"created", record.created_micros},
                             {"request", record.request}};
  if (record.replication_factor > 0) fields["replication_factor"] = record.replication_factor;
  return boost::json::serialize(fields);
}

Result<DatabaseRecord> decode_database_record(std::string_view text) {
  ASSIGN_OR_RETURN(JsonFields fields, JsonFields::parse(text, "a database record"));
  DatabaseRecord record{.id = DatabaseId(fields.number("id")),
                        .name = fields.text("name"),
                        .range = RangeId(fields.number("range")),
                        .created_micros = fields.signed_number("created"),
                        .request = fields.text("request"),
                        .replication_factor = static_cast<int>(fields.number("replication_factor"))};
  TRY(fields.check());
  if (!record.id || !record.range) return Error(Errc::kCorrupt, "a database record lacks its id or range");
  return record;
}

Result<void> check_database_name(std::string_view name) {
  if (name.empty()) return Error(Errc::kInvalidArgument, "a database needs a name");
  if (name.size() > kNameBytesMax)
    return Error(Errc::kInvalidArgument, "a database name has at most " + std::to_string(kNameBytesMax) + " bytes");
  for (const char c : name)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      return Error(Errc::kInvalidArgument, "a database name must not contain control characters");
  return {};
}

void create_database(Store& store, std::string name, Creator creator, std::int64_t wall_micros,
                     Callback<DatabaseRecord> done) {
  if (auto checked = check_database_name(name); !checked.ok()) return done(std::move(checked).error());
  auto creation = std::make_shared<Creation>(std::move(name), std::move(creator), wall_micros);
  update(
      store, creation->keys_read(), [creation](const Snapshot& seen) { return creation->plan(seen); },
      [creation, done = std::move(done)](Result<Revision> written) mutable {
        if (!written.ok()) return done(std::move(written).error());
        done(creation->record());
      });
}

void set_replication_factor(Store& store, std::string name, int replicas, NodeId by, std::int64_t wall_micros,
                            Callback<void> done) {
  if (auto checked = check_replication_factor(replicas); !checked.ok()) return done(std::move(checked));
  std::vector<std::string> read{keys::database(name)};
  auto plan = [name = std::move(name), replicas, by, wall_micros](const Snapshot& seen) -> Result<Plan> {
    const KeyValue* kv = find(seen, keys::database(name));
    if (kv == nullptr) return Error(Errc::kUndefinedDatabase, "database \"" + name + "\" does not exist");
    ASSIGN_OR_RETURN(DatabaseRecord record, decode_database_record(kv->value));
    if (record.replication_factor == replicas) return Plan{};
    record.replication_factor = replicas;
    Plan next;
    next.ops.push_back(Op::put(kv->key, encode(record)));
    next.ops.push_back(event_op({.time_micros = wall_micros,
                                 .type = "set_replication_factor",
                                 .node = by,
                                 .details = {{"database", record.name}, {"replication_factor", replicas}}}));
    return next;
  };
  update(store, std::move(read), std::move(plan), [done = std::move(done)](Result<Revision> written) mutable {
    if (!written.ok()) return done(std::move(written).error());
    done({});
  });
}

void drop_database(Store& store, std::string name, NodeId by, std::int64_t wall_micros, Callback<DatabaseRecord> done) {
  std::vector<std::string> read{keys::database(name)};
  auto removal = std::make_shared<Removal>(std::move(name), by, wall_micros);
  update(
      store, std::move(read), [removal](const Snapshot& seen) { return removal->plan(seen); },
      [removal, done = std::move(done)](Result<Revision> written) mutable {
        if (!written.ok()) return done(std::move(written).error());
        done(removal->dropped());
      });
}

}  // namespace outlast::meta
