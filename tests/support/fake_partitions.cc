#include "tests/support/fake_partitions.h"

#include <algorithm>

namespace outlast::testing {

std::shared_ptr<const gateway::PartitionedTables> FakePartitions::tables(const std::string& database) const {
  const std::lock_guard lock(mutex_);
  const auto it = known_.find(database);
  return it == known_.end() ? nullptr : it->second;
}

bool FakePartitions::has(RangeId range) const {
  const std::lock_guard lock(mutex_);
  return std::ranges::any_of(records_, [&](const auto& entry) {
    return std::ranges::any_of(entry.second.partitions, [&](const auto& each) { return each.range == range; });
  });
}

Result<meta::PartitionedRecord> FakePartitions::record(const std::string& database, const std::string& table) const {
  const std::lock_guard lock(mutex_);
  const auto it = records_.find({database, table});
  if (it == records_.end()) return Error(Errc::kUndefinedTable, "relation \"" + table + "\" does not exist");
  return it->second;
}

/// Under mutex_.
void FakePartitions::publish(const std::string& database) {
  auto tables = std::make_shared<gateway::PartitionedTables>();
  for (const auto& [key, record] : records_) {
    if (key.first != database || record.state != meta::PartitionedState::kReady) continue;
    gateway::PartitionedTable& table = (*tables)[record.table];
    table = {record.table, record.scheme, {}, record.version};
    for (const meta::PartitionRecord& each : record.partitions)
      if (each.ready) table.partitions.push_back({each.slot, each.range});
  }
  known_[database] = tables->empty() ? nullptr : std::move(tables);
}

Result<meta::PartitionedRecord> FakePartitions::create(const std::string& database, const std::string& table,
                                                       const std::string& scheme,
                                                       const std::vector<std::int64_t>& slots,
                                                       const std::string& request) {
  const std::lock_guard lock(mutex_);
  if (records_.contains({database, table}))
    return Error(Errc::kDuplicateTable, "relation \"" + table + "\" already exists");
  Record record{.database = DatabaseId(1),
                .database_name = database,
                .table = table,
                .scheme = scheme,
                .partitions = {},
                .pending = {},
                .request = request,
                .owner = {}};
  for (const std::int64_t slot : slots) record.partitions.push_back({slot, RangeId(next_range_++), false});
  return records_[{database, table}] = record;
}

Result<meta::PartitionedRecord> FakePartitions::change(const std::string& database, const std::string& table,
                                                       const gateway::PartitionPorts::Change& change) {
  if (failing_ > 0 && spared_-- <= 0) {
    --failing_;
    return Error(Errc::kMetaUnavailable, "the metadata store is away, says the test");
  }
  const std::lock_guard lock(mutex_);
  const auto it = records_.find({database, table});
  if (it == records_.end()) return Error(Errc::kUndefinedTable, "relation \"" + table + "\" does not exist");
  ASSIGN_OR_RETURN(it->second, change(it->second));
  publish(database);
  return it->second;
}

gateway::PartitionPorts FakePartitions::ports() {
  gateway::PartitionPorts ports;
  ports.tables = [this](const std::string& database) { return tables(database); };
  ports.create = [this](const std::string& database, const std::string& table, const std::string& scheme,
                        const std::vector<std::int64_t>& slots, const std::string& request,
                        Callback<Record> done) { done(create(database, table, scheme, slots, request)); };
  ports.add = [this](const std::string& database, const std::string& table, std::int64_t slot, Callback<Record> done) {
    done(change(database, table, [&](const Record& now) -> Result<Record> {
      Record next = now;
      if (next.find(slot) == nullptr) next.partitions.push_back({slot, RangeId(next_range_++), false});
      return next;
    }));
  };
  ports.change = [this](const std::string& database, const std::string& table,
                        const gateway::PartitionPorts::Change& wanted, const std::string&,
                        Callback<Record> done) { done(change(database, table, wanted)); };
  ports.drop_ranges = [this](const std::string& database, const std::string& table, Callback<void> done) {
    const auto dropped = change(database, table, [](const Record& now) -> Result<Record> {
      Record next = now;
      next.partitions.clear();
      return next;
    });
    done(dropped.ok() ? Result<void>() : dropped.error());
  };
  ports.forget = [this](const std::string& database, const std::string& table, Callback<void> done) {
    {
      const std::lock_guard lock(mutex_);
      records_.erase({database, table});
      publish(database);
    }
    done({});
  };
  ports.wall_micros = [] { return std::int64_t{0}; };
  return ports;
}

}  // namespace outlast::testing
