#pragma once
#include <map>
#include <memory>
#include <mutex>

#include "compute/engine.h"
#include "gateway/session.h"

namespace outlast::compute {

/// A client's session that also runs plans. What their results leave open is a portal like any other: fetch(),
/// close_portal() and interrupt() reach it. All else goes to the gateway's session below.
/// Thread-safety and promises: gateway/session.h. Lifetime: the engine outlives it.
class Session final : public gateway::Session {
 public:
  Session(std::unique_ptr<gateway::Session> below, Engine& engine) : below_(std::move(below)), engine_(engine) {}

  /// Outside a transaction.
  boost::asio::awaitable<Result<gateway::Rows>> run_plan(Plan plan, std::uint64_t max_rows);

  boost::asio::awaitable<Result<void>> use_database(std::string name) override {
    return below_->use_database(std::move(name));
  }
  const std::string& database() const override { return below_->database(); }
  gateway::TxnStatus status() const override { return below_->status(); }
  gateway::Limits& limits() override { return below_->limits(); }
  gateway::Seen seen() const override { return below_->seen(); }
  void resume(std::string database, gateway::Seen seen) override { below_->resume(std::move(database), seen); }
  boost::asio::awaitable<Result<gateway::Rows>> run(gateway::Statement statement) override {
    return below_->run(std::move(statement));
  }
  boost::asio::awaitable<Result<gateway::Rows>> fetch(std::uint64_t portal, std::uint64_t max_rows) override {
    return is_own(portal) ? fetch_own(portal, max_rows) : below_->fetch(portal, max_rows);
  }
  boost::asio::awaitable<void> close_portal(std::uint64_t portal) override;
  boost::asio::awaitable<Result<gateway::Rows>> describe(std::string sql, bool internal) override {
    return below_->describe(std::move(sql), internal);
  }
  Result<void> begin(gateway::TxnOptions options) override { return below_->begin(options); }
  boost::asio::awaitable<Result<bool>> commit() override { return below_->commit(); }
  boost::asio::awaitable<void> rollback() override { return below_->rollback(); }
  boost::asio::awaitable<Result<void>> savepoint(SavepointAction action, std::string name) override {
    return below_->savepoint(action, std::move(name));
  }
  void fail_transaction() override { below_->fail_transaction(); }
  void interrupt() override;

 private:
  using QueryPtr = std::shared_ptr<Query>;
  /// Portals of plans have this bit; the gateway counts its own from 1.
  static constexpr std::uint64_t kOwn = std::uint64_t{1} << 62;
  static bool is_own(std::uint64_t portal) { return (portal & kOwn) != 0; }
  boost::asio::awaitable<Result<gateway::Rows>> fetch_own(std::uint64_t portal, std::uint64_t max_rows);
  /// interrupt() reaches this one; nullptr: none.
  void set_running(QueryPtr query);

  const std::unique_ptr<gateway::Session> below_;
  Engine& engine_;
  std::map<std::uint64_t, QueryPtr> open_;
  std::uint64_t next_{kOwn};
  std::mutex mutex_;  ///< Of `running_`.
  QueryPtr running_;
};

}  // namespace outlast::compute
