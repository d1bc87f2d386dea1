#pragma once
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "tests/support/fake_cluster.h"

namespace outlast::testing {

/// A process of a FakeCluster that dies after so many statements and COMMITs: from then on nothing that it does reaches
/// a range. The last one may still be applied, its answer lost. Thread-safety: as FakeCluster.
class CrashCluster final : public gateway::Cluster {
 public:
  CrashCluster(FakeCluster& cluster, std::string process) : cluster_(cluster), process_(std::move(process)) {}
  /// `applied`: whether the statement that it dies at reaches its range.
  void die_after(int steps, bool applied) { steps_left_ = steps, last_applied_ = applied; }
  /// The answer to every `n`th step gets lost, after it was applied.
  void lose_answers(int n) { lose_every_ = n; }
  bool dead() const { return steps_left_ < 0; }
  int steps() const { return steps_; }

  enum class Fate : std::uint8_t { kDone, kLost, kDeadAfter, kDead };
  Fate step() {
    if (steps_left_ < 0) return Fate::kDead;
    const int left = steps_left_.fetch_sub(1);
    if (left <= 0) return last_applied_ ? Fate::kDeadAfter : Fate::kDead;
    const int n = ++steps_;
    return lose_every_ > 0 && n % lose_every_ == 0 ? Fate::kLost : Fate::kDone;
  }

  std::unique_ptr<gateway::Session> open_session() override;
  std::vector<gateway::DatabaseRow> databases() const override { return cluster_.databases(); }
  std::shared_ptr<const gateway::PartitionedTables> partitioned(const std::string& database) const override {
    return cluster_.partitioned(database);
  }
  boost::asio::awaitable<Result<void>> create_partitioned(std::string database,
                                                          gateway::NewPartitionedTable table) override {
    return cluster_.create_partitioned(std::move(database), std::move(table));
  }
  boost::asio::awaitable<Result<void>> change_partitioned(std::string database, std::string table,
                                                          gateway::TableChange change) override {
    return cluster_.change_partitioned(std::move(database), std::move(table), std::move(change));
  }
  boost::asio::awaitable<Result<void>> drop_partitioned(std::string database, std::string table) override {
    return cluster_.drop_partitioned(std::move(database), std::move(table));
  }
  boost::asio::awaitable<Result<gateway::PartitionRow>> add_partition(std::string database, std::string table,
                                                                      std::int64_t slot) override {
    return cluster_.add_partition(std::move(database), std::move(table), slot);
  }
  boost::asio::awaitable<Result<void>> create_database(std::string name) override {
    return cluster_.create_database(std::move(name));
  }
  boost::asio::awaitable<Result<void>> drop_database(std::string name) override {
    return cluster_.drop_database(std::move(name));
  }
  boost::asio::awaitable<Result<void>> set_replication_factor(std::string database, int replicas) override {
    return cluster_.set_replication_factor(std::move(database), replicas);
  }
  boost::asio::awaitable<Result<std::vector<gateway::ListingRow>>> list(gateway::Listing what) override {
    return cluster_.list(what);
  }
  std::vector<gateway::SettingRow> settings() const override { return cluster_.settings(); }
  Result<std::string> setting(const std::string& name) const override { return cluster_.setting(name); }
  boost::asio::awaitable<Result<void>> set_setting(std::string name, std::string value) override {
    return cluster_.set_setting(std::move(name), std::move(value));
  }
  boost::asio::awaitable<Result<void>> reset_setting(std::string name) override {
    return cluster_.reset_setting(std::move(name));
  }
  std::optional<NodeId> leader(RangeId range) const override { return cluster_.leader(range); }
  NodeId node() const override { return cluster_.node(); }
  std::string process() const override { return process_; }
  bool process_gone(const std::string& process) const override { return process != process_; }
  std::int64_t wall_micros() const override { return cluster_.wall_micros(); }
  std::string refuse_sessions() const override { return cluster_.refuse_sessions(); }

 private:
  FakeCluster& cluster_;
  const std::string process_;
  std::atomic<int> steps_left_{1 << 30}, steps_{0}, lose_every_{0};
  std::atomic<bool> last_applied_{false};
};

/// See CrashCluster.
class CrashSession final : public gateway::Session {
 public:
  CrashSession(CrashCluster& cluster, std::unique_ptr<gateway::Session> inner)
      : cluster_(cluster), inner_(std::move(inner)) {}
  boost::asio::awaitable<Result<void>> use_database(std::string name) override {
    return inner_->use_database(std::move(name));
  }
  const std::string& database() const override { return inner_->database(); }
  gateway::TxnStatus status() const override { return inner_->status(); }
  gateway::Limits& limits() override { return inner_->limits(); }
  gateway::Seen seen() const override { return inner_->seen(); }
  void resume(std::string database, gateway::Seen seen) override { inner_->resume(std::move(database), seen); }
  boost::asio::awaitable<Result<gateway::Rows>> run(gateway::Statement statement) override {
    const bool alone = inner_->status() == gateway::TxnStatus::kIdle;
    const CrashCluster::Fate fate = cluster_.step();
    if (fate == CrashCluster::Fate::kDead) co_return died();
    auto rows = co_await inner_->run(std::move(statement));
    if (fate == CrashCluster::Fate::kDeadAfter) co_return died();
    if (fate != CrashCluster::Fate::kLost || !rows.ok()) co_return rows;
    if (alone && !rows->read_only) co_return lost();
    if (alone) co_return rows;
    inner_->fail_transaction();
    co_return Error(Errc::kTransactionLost, "the leaseholder is gone");
  }
  boost::asio::awaitable<Result<gateway::Rows>> fetch(std::uint64_t portal, std::uint64_t max_rows) override {
    return inner_->fetch(portal, max_rows);
  }
  boost::asio::awaitable<void> close_portal(std::uint64_t portal) override { return inner_->close_portal(portal); }
  boost::asio::awaitable<Result<gateway::Rows>> describe(std::string sql, bool internal) override {
    return inner_->describe(std::move(sql), internal);
  }
  Result<void> begin(gateway::TxnOptions options) override { return inner_->begin(options); }
  boost::asio::awaitable<Result<bool>> commit() override {
    const CrashCluster::Fate fate = cluster_.step();
    if (fate == CrashCluster::Fate::kDead) co_return died();
    auto done = co_await inner_->commit();
    if (fate == CrashCluster::Fate::kDeadAfter) co_return died();
    if (fate == CrashCluster::Fate::kLost && done.ok()) co_return lost();
    co_return done;
  }
  boost::asio::awaitable<void> rollback() override { return inner_->rollback(); }
  boost::asio::awaitable<Result<void>> savepoint(SavepointAction action, std::string name) override {
    return inner_->savepoint(action, std::move(name));
  }
  void fail_transaction() override { inner_->fail_transaction(); }
  void interrupt() override { inner_->interrupt(); }

 private:
  static Error died() { return {Errc::kInternal, "the process has died"}; }
  static Error lost() { return {Errc::kUnknownOutcome, "the answer got lost"}; }
  CrashCluster& cluster_;
  std::unique_ptr<gateway::Session> inner_;
};

inline std::unique_ptr<gateway::Session> CrashCluster::open_session() {
  return std::make_unique<CrashSession>(*this, cluster_.open_session());
}

}  // namespace outlast::testing
