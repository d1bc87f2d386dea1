#include "gateway/cluster_impl.h"

#include <boost/asio/this_coro.hpp>

#include "base/parse.h"
#include "gateway/await_callback.h"
#include "gateway/session_impl.h"

namespace outlast::gateway {

ClusterImpl::ClusterImpl(ClusterPorts ports, RouteTable& routes, ChannelFactory& channels, const Clock& clock,
                         GatewayParameters parameters)
    : gateway_(std::make_shared<Gateway>(std::move(ports), routes, channels, clock, parameters)),
      partitioning_(std::make_shared<Partitioning>(
          gateway_->ports.partitions, [gateway = gateway_] { return std::make_unique<SessionImpl>(gateway); })) {}

std::unique_ptr<Session> ClusterImpl::open_session() {
  auto session = std::make_unique<SessionImpl>(gateway_);
  Limits& limits = session->limits();
  const std::pair<const char*, Duration*> defaults[] = {
      {"sql.defaults.statement_timeout", &limits.statement_timeout},
      {"sql.defaults.lock_timeout", &limits.lock_timeout},
      {"sql.defaults.idle_in_transaction_session_timeout", &limits.idle_in_transaction_timeout}};
  for (const auto& [name, limit] : defaults) {
    const Result<std::string> value = gateway_->ports.setting(name);
    if (!value.ok()) continue;  // an older cluster: what session.h says
    if (const Result<Duration> parsed = parse_duration(*value); parsed.ok()) *limit = *parsed;
  }
  return session;
}

boost::asio::awaitable<Result<void>> ClusterImpl::create_database(std::string name) {
  const std::shared_ptr<Gateway> gateway = gateway_;
  Result<DatabaseRow> made = co_await await_callback<DatabaseRow>(
      [gateway, name](Callback<DatabaseRow> done) { gateway->ports.create_database(name, std::move(done)); });
  if (!made.ok()) co_return std::move(made).error();
  const Instant patience = gateway->clock.now() + gateway->parameters.patience;
  const auto executor = co_await boost::asio::this_coro::executor;
  for (;;) {  // the mirrors follow within milliseconds
    const std::optional<DatabaseRow> known = gateway->ports.find_database(name);
    if (known && known->id == made->id) break;
    if (gateway->clock.now() >= patience)
      co_return Error(Errc::kNoLeaseholder, "database \"" + name +
                                                "\" was created, but this node has not heard of it; "
                                                "wait for it to appear in \\l");
    co_await gateway->routes.wait_change(made->range, gateway->routes.find(made->range).version,
                                         gateway->parameters.retry_min, gateway->routes.sleeper(executor));
  }
  SessionImpl session(gateway);
  Result<void> entered = co_await session.use_database(name);
  if (!entered.ok()) co_return entered;
  Result<Rows> answered = co_await session.run({.sql = "SELECT 1", .tag = "SELECT", .internal = true});
  if (!answered.ok()) co_return std::move(answered).error().within("database \"" + name + "\" was created");
  co_return Result<void>();
}

boost::asio::awaitable<Result<void>> ClusterImpl::drop_database(std::string name) {
  const std::shared_ptr<Gateway> gateway = gateway_;
  co_return co_await await_callback<void>(
      [gateway, name](Callback<void> done) { gateway->ports.drop_database(name, std::move(done)); });
}

boost::asio::awaitable<Result<void>> ClusterImpl::set_replication_factor(std::string database, int replicas) {
  const std::shared_ptr<Gateway> gateway = gateway_;
  co_return co_await await_callback<void>([gateway, database, replicas](Callback<void> done) {
    gateway->ports.set_replication_factor(database, replicas, std::move(done));
  });
}

boost::asio::awaitable<Result<void>> ClusterImpl::create_partitioned(std::string database, NewPartitionedTable table) {
  const std::shared_ptr<Partitioning> partitioning = partitioning_;
  co_return co_await partitioning->create(std::move(database), std::move(table));
}

boost::asio::awaitable<Result<void>> ClusterImpl::change_partitioned(std::string database, std::string table,
                                                                     TableChange change) {
  const std::shared_ptr<Partitioning> partitioning = partitioning_;
  co_return co_await partitioning->change(std::move(database), std::move(table), std::move(change));
}

boost::asio::awaitable<Result<void>> ClusterImpl::drop_partitioned(std::string database, std::string table) {
  const std::shared_ptr<Partitioning> partitioning = partitioning_;
  co_return co_await partitioning->drop(std::move(database), std::move(table));
}

boost::asio::awaitable<Result<PartitionRow>> ClusterImpl::add_partition(std::string database, std::string table,
                                                                        std::int64_t slot) {
  const std::shared_ptr<Partitioning> partitioning = partitioning_;
  co_return co_await partitioning->add(std::move(database), std::move(table), slot);
}

boost::asio::awaitable<Result<void>> ClusterImpl::finish_partitioned(meta::PartitionedRecord record) {
  const std::shared_ptr<Partitioning> partitioning = partitioning_;
  const std::string database = record.database_name;
  co_return co_await partitioning->finish(database, std::move(record));
}

boost::asio::awaitable<Result<std::vector<ListingRow>>> ClusterImpl::list(Listing what) {
  const std::shared_ptr<Gateway> gateway = gateway_;
  co_return co_await await_callback<std::vector<ListingRow>>(
      [gateway, what](Callback<std::vector<ListingRow>> done) { gateway->ports.list(what, std::move(done)); });
}

boost::asio::awaitable<Result<void>> ClusterImpl::set_setting(std::string name, std::string value) {
  const std::shared_ptr<Gateway> gateway = gateway_;
  co_return co_await await_callback<void>(
      [gateway, name, value](Callback<void> done) { gateway->ports.set_setting(name, value, std::move(done)); });
}

boost::asio::awaitable<Result<void>> ClusterImpl::reset_setting(std::string name) {
  const std::shared_ptr<Gateway> gateway = gateway_;
  co_return co_await await_callback<void>(
      [gateway, name](Callback<void> done) { gateway->ports.reset_setting(name, std::move(done)); });
}

std::string ClusterImpl::process() const {
  return gateway_->ports.node.to_string() + "/" + gateway_->ports.incarnation.to_string();
}

bool ClusterImpl::process_gone(const std::string& process) const {
  const std::size_t slash = process.find('/');
  if (slash == std::string::npos) return true;  // no process of this or any later version is called so
  const Result<std::int64_t> node = parse_int(std::string_view(process).substr(0, slash));
  const Result<std::int64_t> incarnation = parse_int(std::string_view(process).substr(slash + 1));
  if (!node.ok() || !incarnation.ok()) return true;
  return gateway_->ports.process_gone(NodeId(static_cast<std::uint32_t>(*node)),
                                      Incarnation(static_cast<std::uint64_t>(*incarnation)));
}

}  // namespace outlast::gateway
