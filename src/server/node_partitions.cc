// What concerns partitioned tables: their records, for the gateway.
#include <boost/asio/co_spawn.hpp>

#include "server/node.h"

namespace outlast::server {
namespace {
Error no_database(const std::string& name) {
  return {Errc::kUndefinedDatabase, "database \"" + name + "\" does not exist"};
}
}  // namespace

gateway::PartitionPorts Node::partition_ports() {
  using Record = meta::PartitionedRecord;
  gateway::PartitionPorts ports;
  const auto event = [this](const std::string& type, const std::string& database, const std::string& table) {
    return meta::ClusterEvent{.time_micros = clock_.wall_micros(),
                              .type = type,
                              .node = member_.node,
                              .details = {{"database", database}, {"table", table}}};
  };
  ports.self = self();
  ports.wall_micros = [this] { return clock_.wall_micros(); };
  ports.has_range = [this](RangeId range) { return state_->ranges().find(meta::keys::range(range)) != nullptr; };
  ports.tables = [this](const std::string& database) { return state_->partitioned(database); };
  ports.create = [this](const std::string& database, const std::string& table, const std::string& scheme,
                        const std::vector<std::int64_t>& slots, const std::string& request, Callback<Record> done) {
    const auto row = state_->find_database(database);
    if (!row) return done(no_database(database));
    meta::create_partitioned(*meta_, {row->id, database, table, scheme, slots, request, self(), clock_.wall_micros()},
                             state_->creators({member_.node, member_.incarnation, member_.store_uuid}),
                             std::move(done));
  };
  ports.add = [this](const std::string& database, const std::string& table, std::int64_t slot, Callback<Record> done) {
    const auto row = state_->find_database(database);
    if (!row) return done(no_database(database));
    meta::add_partition(*meta_, row->id, table, slot,
                        state_->creators({member_.node, member_.incarnation, member_.store_uuid}), std::move(done));
  };
  ports.change = [this, event](const std::string& database, const std::string& table,
                               const gateway::PartitionPorts::Change& change, const std::string& type,
                               Callback<Record> done) {
    const auto row = state_->find_database(database);
    if (!row) return done(no_database(database));
    meta::change_partitioned(*meta_, row->id, table, change,
                             type.empty() ? std::nullopt : std::optional(event(type, database, table)),
                             std::move(done));
  };
  ports.drop_ranges = [this](const std::string& database, const std::string& table, Callback<void> done) {
    const auto row = state_->find_database(database);
    if (!row) return done(no_database(database));
    meta::drop_partition_ranges(*meta_, row->id, table, std::move(done));
  };
  ports.forget = [this, event](const std::string& database, const std::string& table, Callback<void> done) {
    const auto row = state_->find_database(database);
    if (!row) return done(no_database(database));
    meta::forget_partitioned(*meta_, row->id, table, event("drop_partitioned_table", database, table), std::move(done));
  };
  return ports;
}

PartitionKeeper::Ports Node::partition_keeper_ports() {
  using Record = meta::PartitionedRecord;
  PartitionKeeper::Ports ports;
  ports.in_office = [this] { return office_->holds() && meta_->connected() && cluster_ != nullptr; };
  ports.records = [this] { return state_->partitioned_mirror().snapshot(); };
  ports.has_database = [this](const Record& record) {
    const auto row = state_->find_database(record.database_name);
    return row && row->id == record.database;
  };
  ports.is_gone = [this](liveness::Peer peer) { return !liveness_->find(peer); };
  ports.finish = [this](Record record, Callback<void> done) {
    boost::asio::co_spawn(
        io_.first(), cluster_->finish_partitioned(std::move(record)),
        [this, done = std::move(done)](const std::exception_ptr& failed, Result<void> ended) mutable {
          if (failed) ended = Error(Errc::kInternal, "finishing a partitioned table failed");
          loop_.post([done = std::move(done), ended = std::move(ended)]() mutable { done(std::move(ended)); });
        });
  };
  ports.discard = [this](const Record& record, Callback<void> done) { discard(record, std::move(done)); };
  ports.drop_partition = [this](const Record& record, meta::PartitionRecord partition, Callback<void> done) {
    meta::drop_partition(*meta_, record.database, record.table, partition,
                         {.time_micros = loop_.wall_micros(),
                          .type = "drop_partition",
                          .node = member_.node,
                          .details = {{"database", record.database_name},
                                      {"table", record.table},
                                      {"range", partition.range.value},
                                      {"why", "TTL"}}},
                         std::move(done));
  };
  ports.ttl_interval = [this] { return state_->settings().duration("sql.ttl.interval"); };
  return ports;
}

/// A table whose database is gone: its home went with it.
void Node::discard(const meta::PartitionedRecord& record, Callback<void> done) {
  const auto forget = [this, id = record.database, table = record.table,
                       name = record.database_name](Callback<void> last) {
    meta::forget_partitioned(*meta_, id, table,
                             {.time_micros = loop_.wall_micros(),
                              .type = "drop_partitioned_table",
                              .node = member_.node,
                              .details = {{"database", name}, {"table", table}}},
                             std::move(last));
  };
  const auto drop = [this, id = record.database, table = record.table, forget](Callback<void> next) {
    meta::drop_partition_ranges(*meta_, id, table, [forget, next = std::move(next)](Result<void> dropped) mutable {
      if (!dropped.ok()) return next(std::move(dropped));
      forget(std::move(next));
    });
  };
  meta::change_partitioned(
      *meta_, record.database, record.table,
      [](const meta::PartitionedRecord& now) -> Result<meta::PartitionedRecord> { return meta::now_dropping(now); },
      std::nullopt,
      [drop, done = std::move(done)](Result<meta::PartitionedRecord> decided) mutable {
        if (!decided.ok()) return done(std::move(decided).error());
        drop(std::move(done));
      });
}

void Node::start_partition_keeper() {
  partition_keeper_ = std::make_unique<PartitionKeeper>(loop_, partition_keeper_ports());
  partition_keeper_->start();
}

}  // namespace outlast::server
