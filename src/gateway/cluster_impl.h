#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/channels.h"
#include "gateway/cluster.h"
#include "gateway/partitioning.h"
#include "gateway/router.h"

namespace outlast::gateway {

/// What a gateway needs of the rest of the node; filled by the server's wiring from the metadata mirrors. All functions
/// from any thread; callbacks may run on any.
struct ClusterPorts {
  NodeId node;
  Incarnation incarnation;
  std::function<std::vector<DatabaseRow>()> databases;
  std::function<std::optional<DatabaseRow>(const std::string&)> find_database;  ///< As known here; may lag.
  PartitionPorts partitions;
  std::function<void(std::string, Callback<DatabaseRow>)> create_database;  ///< Done when it is durable.
  std::function<void(std::string, Callback<void>)> drop_database;
  std::function<void(std::string, int, Callback<void>)> set_replication_factor;
  std::function<void(Listing, Callback<std::vector<ListingRow>>)> list;
  std::function<std::vector<SettingRow>()> settings;
  std::function<Result<std::string>(const std::string&)> setting;
  std::function<void(std::string, std::string, Callback<void>)> set_setting;
  std::function<void(std::string, Callback<void>)> reset_setting;
  std::function<std::string()> refuse_sessions;
  std::function<bool(NodeId, Incarnation)> process_gone;
};

struct GatewayParameters {
  Duration patience{std::chrono::seconds(30)};         ///< For a leaseholder, when the statement has no deadline.
  Duration retry_min{std::chrono::milliseconds(5)};    ///< First wait for a change of the route; doubles,
  Duration retry_max{std::chrono::milliseconds(250)};  ///< up to this one. Both are jittered.
  Duration resolve_timeout{std::chrono::seconds(30)};  ///< To find out what became of a write, unless a setting says.
};

/// Counted since the start; readable from any thread.
struct GatewayCounters {
  std::atomic<std::uint64_t> statements{0}, repeated_unseen{0}, transactions_lost{0}, no_leaseholder{0}, sessions{0};
  /// Writes whose answer got lost: how they ended. The client of an unknown one was told so.
  std::atomic<std::uint64_t> resolved_done{0}, resolved_not_applied{0}, unknown{0};
};

/// What all sessions of a gateway share. Lifetime: ports, table, factory and clock outlive the sessions.
struct Gateway {
  Gateway(ClusterPorts p, RouteTable& r, ChannelFactory& c, const Clock& k, GatewayParameters limits)
      : ports(std::move(p)), routes(r), channels(c), clock(k), parameters(limits) {}
  const ClusterPorts ports;
  RouteTable& routes;
  ChannelFactory& channels;
  const Clock& clock;
  const GatewayParameters parameters;
  GatewayCounters counters;
  std::atomic<std::uint64_t> next_request{1};  ///< Together with the incarnation: names a write for ever (A5.6).
};

/// Cluster over the ports. Thread-safety: any thread.
class ClusterImpl final : public Cluster {
 public:
  ClusterImpl(ClusterPorts ports, RouteTable& routes, ChannelFactory& channels, const Clock& clock,
              GatewayParameters parameters = {});
  std::unique_ptr<Session> open_session() override;
  std::vector<DatabaseRow> databases() const override { return gateway_->ports.databases(); }
  std::shared_ptr<const PartitionedTables> partitioned(const std::string& database) const override {
    return gateway_->ports.partitions.tables(database);
  }
  std::optional<NodeId> leader(RangeId range) const override {
    const auto known = gateway_->routes.find(range);
    return known.route ? std::optional(known.route->node) : std::nullopt;
  }
  boost::asio::awaitable<Result<void>> create_partitioned(std::string database, NewPartitionedTable table) override;
  boost::asio::awaitable<Result<void>> change_partitioned(std::string database, std::string table,
                                                          TableChange change) override;
  boost::asio::awaitable<Result<void>> drop_partitioned(std::string database, std::string table) override;
  boost::asio::awaitable<Result<PartitionRow>> add_partition(std::string database, std::string table,
                                                             std::int64_t slot) override;
  /// Partitioning::finish.
  boost::asio::awaitable<Result<void>> finish_partitioned(meta::PartitionedRecord record);
  boost::asio::awaitable<Result<void>> create_database(std::string name) override;
  boost::asio::awaitable<Result<void>> drop_database(std::string name) override;
  boost::asio::awaitable<Result<void>> set_replication_factor(std::string database, int replicas) override;
  boost::asio::awaitable<Result<std::vector<ListingRow>>> list(Listing what) override;
  std::vector<SettingRow> settings() const override { return gateway_->ports.settings(); }
  Result<std::string> setting(const std::string& name) const override { return gateway_->ports.setting(name); }
  boost::asio::awaitable<Result<void>> set_setting(std::string name, std::string value) override;
  boost::asio::awaitable<Result<void>> reset_setting(std::string name) override;
  NodeId node() const override { return gateway_->ports.node; }
  std::string process() const override;
  bool process_gone(const std::string& process) const override;
  std::int64_t wall_micros() const override { return gateway_->clock.wall_micros(); }
  std::string refuse_sessions() const override { return gateway_->ports.refuse_sessions(); }
  const GatewayCounters& counters() const { return gateway_->counters; }

 private:
  std::shared_ptr<Gateway> gateway_;
  const std::shared_ptr<Partitioning> partitioning_;
};

}  // namespace outlast::gateway
