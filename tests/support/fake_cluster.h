#pragma once
#include <atomic>
#include <boost/asio/thread_pool.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "gateway/cluster.h"
#include "gateway/partitioning.h"
#include "tests/support/fake_partitions.h"

namespace outlast::testing {

/// A cluster of one process for tests of the SQL front: each range is one SQLite file in a directory of its own,
/// each session a connection to those that it uses. It keeps the promises that gateway/session.h states, without
/// replication. Thread-safety: any thread. Lifetime: sessions must be gone before it is.
class FakeCluster final : public gateway::Cluster {
 public:
  FakeCluster();
  ~FakeCluster() override;
  std::unique_ptr<gateway::Session> open_session() override;
  std::vector<gateway::DatabaseRow> databases() const override;
  std::optional<NodeId> leader(RangeId) const override { return node(); }
  std::shared_ptr<const gateway::PartitionedTables> partitioned(const std::string& database) const override {
    return partitions_.tables(database);
  }
  boost::asio::awaitable<Result<void>> create_partitioned(std::string database,
                                                          gateway::NewPartitionedTable table) override {
    return partitioning_.create(std::move(database), std::move(table));
  }
  boost::asio::awaitable<Result<void>> change_partitioned(std::string database, std::string table,
                                                          gateway::TableChange change) override {
    return partitioning_.change(std::move(database), std::move(table), std::move(change));
  }
  boost::asio::awaitable<Result<void>> drop_partitioned(std::string database, std::string table) override {
    return partitioning_.drop(std::move(database), std::move(table));
  }
  boost::asio::awaitable<Result<gateway::PartitionRow>> add_partition(std::string database, std::string table,
                                                                      std::int64_t slot) override {
    return partitioning_.add(std::move(database), std::move(table), slot);
  }
  boost::asio::awaitable<Result<void>> create_database(std::string name) override;
  boost::asio::awaitable<Result<void>> drop_database(std::string name) override;
  boost::asio::awaitable<Result<void>> set_replication_factor(std::string database, int replicas) override;
  /// One node; no ranges and no tasks.
  boost::asio::awaitable<Result<std::vector<gateway::ListingRow>>> list(gateway::Listing what) override;
  std::vector<gateway::SettingRow> settings() const override;
  Result<std::string> setting(const std::string& name) const override;
  boost::asio::awaitable<Result<void>> set_setting(std::string name, std::string value) override;
  boost::asio::awaitable<Result<void>> reset_setting(std::string name) override;
  NodeId node() const override { return NodeId(1); }
  std::string process() const override { return process_; }
  bool process_gone(const std::string& process) const override { return process != process_; }
  /// From now on this is another process, and the one before it has ended.
  void restart(std::string process) { process_ = std::move(process); }
  std::int64_t wall_micros() const override;
  std::string refuse_sessions() const override;

  void refuse(std::string why);
  /// The next COMMIT or writing statement outside a transaction answers so, after it was applied.
  void fail_next_commit(Errc code) { next_commit_ = code; }
  std::string path_of(const std::string& database) const;  ///< Empty when there is none.
  /// The file of a range; empty when there is no such range any more.
  std::string path_of(RangeId range) const;
  /// Records of partitioned tables, for tests that stop something in the middle.
  FakePartitions& partitions() { return partitions_; }
  gateway::Partitioning& partitioning() { return partitioning_; }
  boost::asio::thread_pool& pool() { return pool_; }
  /// What fail_next_commit() left, once.
  Errc take_commit_failure() { return next_commit_.exchange(Errc::kInternal); }
  std::atomic<int> sessions_open{0};
  std::atomic<int> interrupts{0};
  std::atomic<bool> older{false};  ///< New sessions find leaseholders of an older version.

 private:
  mutable std::mutex mutex_;
  std::string directory_;
  std::map<std::string, gateway::DatabaseRow> databases_;
  std::map<std::string, gateway::SettingRow> settings_;
  std::string refuse_;
  std::string process_{"1/1"};
  std::atomic<Errc> next_commit_{Errc::kInternal};  ///< kInternal: none.
  std::uint64_t next_id_{1};
  FakePartitions partitions_;
  gateway::Partitioning partitioning_;
  boost::asio::thread_pool pool_{4};
};

}  // namespace outlast::testing
