#include "server/partition_keeper.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "fragments/scheme.h"

namespace outlast::server {
using namespace std::chrono_literals;
using meta::PartitionedState;

namespace {
constexpr Duration kLook = 1s;
constexpr Duration kDecided = 5s;       ///< What is decided may be finished by anybody, but its gateway comes first.
constexpr Duration kUndecided = 10min;  ///< Of a gateway that lives: it may be building an index over much data.

std::string name_of(const meta::PartitionedRecord& record) {
  return "table \"" + record.table + "\" of database \"" + record.database_name + "\"";
}
}  // namespace

PartitionKeeper::PartitionKeeper(Loop& loop, Ports ports) : loop_(loop), ports_(std::move(ports)) {}

void PartitionKeeper::tick() {
  loop_.after(kLook, [this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) tick();
  });
  const auto records = ports_.in_office() ? ports_.records() : std::vector<meta::PartitionedMirror::EntryPtr>();
  if (records.empty()) return seen_.clear();
  std::erase_if(seen_, [&](const auto& seen) {
    return std::ranges::none_of(records, [&](const auto& entry) { return entry->key == seen.first; });
  });
  for (const auto& entry : records) look(entry);
  if (!ttl_looked_) ttl_looked_ = loop_.now();
  if (dropping_ || loop_.now() - *ttl_looked_ < ports_.ttl_interval()) return;
  ttl_looked_ = loop_.now();
  drop_expired();
}

bool PartitionKeeper::is_abandoned(const Record& record, Duration unchanged) const {
  if (record.state == PartitionedState::kDropping) return unchanged >= kDecided;
  if (record.state == PartitionedState::kCreating) return ports_.is_gone(record.owner) || unchanged >= kUndecided;
  if (!record.pending) return false;
  if (ports_.is_gone(record.pending->owner)) return true;
  return unchanged >= (record.pending->decided ? kDecided : kUndecided);
}

void PartitionKeeper::look(const meta::PartitionedMirror::EntryPtr& entry) {
  const Record& record = entry->value;
  Seen& seen = seen_[entry->key];
  if (seen.version != record.version) seen = {record.version, loop_.now()};
  if (busy_.contains(entry->key)) return;
  if (!ports_.has_database(record)) {
    if (loop_.now() - seen.since < kLook) return;  // the mirrors of databases and tables follow each other closely
    busy_.insert(entry->key);
    return ports_.discard(record, ended(entry->key, "removed " + name_of(record) + ": the database was dropped"));
  }
  if (!is_abandoned(record, loop_.now() - seen.since)) return;
  const bool change = record.state == PartitionedState::kReady;
  const std::string what = !change                   ? "removed what was left of "
                           : record.pending->decided ? "finished " + record.pending->tag + " of "
                                                     : "gave up " + record.pending->tag + " of ";
  seen.since = loop_.now();  // once more after as long a time, if this does not help
  busy_.insert(entry->key);
  ports_.finish(record, ended(entry->key, what + name_of(record)));
}

Callback<void> PartitionKeeper::ended(std::string key, std::string what) {
  return [this, alive = std::weak_ptr(alive_), key = std::move(key), what = std::move(what)](Result<void> done) {
    if (done.ok())
      spdlog::info("partitioned tables: {}", what);
    else
      spdlog::warn("partitioned tables: not yet {}: {}", what, done.error().message);
    if (!alive.expired()) busy_.erase(key);
  };
}

void PartitionKeeper::drop_expired() {
  const auto expired = std::make_shared<std::vector<std::pair<Record, meta::PartitionRecord>>>();
  for (const auto& entry : ports_.records()) {
    const Record& record = entry->value;
    if (record.state != PartitionedState::kReady || record.pending) continue;
    const auto scheme = fragments::decode_scheme(record.scheme);
    if (!scheme.ok() || !scheme->ttl) continue;
    for (const meta::PartitionRecord& each : record.partitions)
      if (scheme->is_expired(each.slot, loop_.wall_micros())) expired->emplace_back(record, each);
  }
  if (expired->empty()) return;
  dropping_ = true;
  drop_next(expired);
}

void PartitionKeeper::drop_next(std::shared_ptr<std::vector<std::pair<Record, meta::PartitionRecord>>> expired) {
  if (expired->empty() || !ports_.in_office()) {
    dropping_ = false;
    return;
  }
  const auto [record, partition] = std::move(expired->back());
  expired->pop_back();
  const auto scheme = fragments::decode_scheme(record.scheme);
  const std::string what = "partition " + (scheme.ok() ? scheme->slot_name(partition.slot) : "") + " of " +
                           name_of(record) + ", all rows older than its TTL";
  ports_.drop_partition(record, partition, [this, alive = std::weak_ptr(alive_), expired, what](Result<void> dropped) {
    if (dropped.ok())
      spdlog::info("partitioned tables: dropped {}", what);
    else
      spdlog::warn("partitioned tables: not yet dropped {}: {}", what, dropped.error().message);
    if (!alive.expired()) drop_next(expired);
  });
}

}  // namespace outlast::server
