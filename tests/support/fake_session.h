#pragma once
#include <sqlite3.h>

#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/fake_cluster.h"

namespace outlast::testing {

struct StatementCloser {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using StatementPtr = std::unique_ptr<sqlite3_stmt, StatementCloser>;

/// See FakeCluster.
class FakeSession final : public gateway::Session {
 public:
  explicit FakeSession(FakeCluster& cluster) : cluster_(cluster) { ++cluster_.sessions_open; }
  ~FakeSession() override;
  boost::asio::awaitable<Result<void>> use_database(std::string name) override;
  const std::string& database() const override { return database_; }
  gateway::TxnStatus status() const override { return status_; }
  gateway::Limits& limits() override { return limits_; }
  gateway::Seen seen() const override { return seen_; }
  void resume(std::string database, gateway::Seen seen) override;
  boost::asio::awaitable<Result<gateway::Rows>> run(gateway::Statement statement) override;
  boost::asio::awaitable<Result<gateway::Rows>> fetch(std::uint64_t portal, std::uint64_t max_rows) override;
  boost::asio::awaitable<void> close_portal(std::uint64_t portal) override;
  boost::asio::awaitable<Result<gateway::Rows>> describe(std::string sql, bool internal) override;
  Result<void> begin(gateway::TxnOptions options) override;
  boost::asio::awaitable<Result<bool>> commit() override;
  boost::asio::awaitable<void> rollback() override;
  boost::asio::awaitable<Result<void>> savepoint(SavepointAction action, std::string name) override;
  void fail_transaction() override;
  void interrupt() override;

 private:
  struct OpenPortal {
    StatementPtr statement;
    bool row_waits{false};  ///< sqlite3_step has been called and its row not yet taken.
  };
  // Optional: what co_spawn hands over must have a default value.
  boost::asio::awaitable<std::optional<Result<gateway::Rows>>> run_here(gateway::Statement statement);
  boost::asio::awaitable<std::optional<Result<gateway::Rows>>> run_script(gateway::Statement script);
  boost::asio::awaitable<std::optional<Result<gateway::Rows>>> fetch_here(std::uint64_t portal, std::uint64_t max_rows);
  Result<StatementPtr> prepare(const std::string& sql);
  Result<void> execute(const std::string& sql);
  /// Makes the range's connection the present one.
  Result<void> open(std::optional<RangeId> range = {});
  Result<sqlite3*> connect(const std::string& path);
  void close_all();
  Result<gateway::Rows> read_piece(OpenPortal open, std::uint64_t max_rows);
  Result<gateway::Rows> failed(Error error);
  Result<void> start_transaction(std::optional<RangeId> range = {});
  Error sqlite_error();

  FakeCluster& cluster_;
  std::string database_;
  std::map<RangeId, sqlite3*> connections_;  ///< Of the ranges used; 0 is the database's own.
  sqlite3* db_{nullptr};                     ///< The present one, if any.
  RangeId where_;                            ///< Its range; while begun_, the transaction's.
  gateway::TxnStatus status_{gateway::TxnStatus::kIdle};
  gateway::Limits limits_;
  gateway::Seen seen_;
  bool begun_{false};  ///< BEGIN has reached SQLite.
  std::map<std::uint64_t, OpenPortal> portals_;
  std::uint64_t next_portal_{1};
  std::mutex running_mutex_;
  bool running_{false};
};

}  // namespace outlast::testing
