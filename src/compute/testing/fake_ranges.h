#pragma once
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "executor/row_batch.h"
#include "gateway/session.h"

namespace outlast::compute::test {

/// Ranges that give the same pieces of rows to every statement, and what went on. One thread.
struct FakeRanges {
  struct Range {
    std::vector<std::string> pieces;  ///< executor/row_batch.h.
    std::vector<Error> losses;        ///< Taken one a run: after its first piece it fails so.
    std::optional<Error> refuses;     ///< Every run.
    bool hangs{false};                ///< Every run waits until it is interrupted.
  };
  std::map<RangeId, Range> ranges;
  std::map<RangeId, int> runs;
  std::vector<gateway::Statement> statements;
  int open{0}, open_most{0}, running{0}, running_most{0}, interrupts{0};
  std::function<void()> on_run = [] {};
  /// Instead of Range::pieces.
  std::function<Result<std::vector<std::string>>(const gateway::Statement&)> answer;

  std::unique_ptr<gateway::Session> open_session();
};

/// A session whose statements are pieces of FakeRanges.
class FakeRangeSession final : public gateway::Session {
 public:
  explicit FakeRangeSession(FakeRanges& ranges) : all_(ranges) {
    all_.open_most = std::max(all_.open_most, ++all_.open);
  }
  ~FakeRangeSession() override { --all_.open; }
  boost::asio::awaitable<Result<void>> use_database(std::string name) override {
    database_ = std::move(name);
    co_return Result<void>();
  }
  const std::string& database() const override { return database_; }
  gateway::TxnStatus status() const override { return gateway::TxnStatus::kIdle; }
  gateway::Limits& limits() override { return limits_; }
  gateway::Seen seen() const override { return {}; }
  void resume(std::string, gateway::Seen) override {}

  boost::asio::awaitable<Result<gateway::Rows>> run(gateway::Statement statement) override {
    const RangeId range = *statement.range;
    ++all_.runs[range];
    at_ = &all_.ranges[range], next_ = 0, lost_.reset();
    if (all_.answer) {
      auto pieces = all_.answer(statement);
      if (!pieces.ok()) co_return std::move(pieces).error();
      pieces_ = *std::move(pieces);
    } else {
      pieces_ = at_->pieces;
    }
    all_.statements.push_back(std::move(statement));
    if (at_->refuses) co_return *at_->refuses;
    if (!at_->losses.empty()) {
      lost_ = at_->losses.back();
      at_->losses.pop_back();
    }
    all_.on_run();
    co_return co_await piece();
  }
  boost::asio::awaitable<Result<gateway::Rows>> fetch(std::uint64_t, std::uint64_t) override {
    if (lost_) co_return *lost_;
    co_return co_await piece();
  }
  boost::asio::awaitable<void> close_portal(std::uint64_t) override { co_return; }
  boost::asio::awaitable<Result<gateway::Rows>> describe(std::string, bool) override { co_return gateway::Rows{}; }
  Result<void> begin(gateway::TxnOptions) override { return {}; }
  boost::asio::awaitable<Result<bool>> commit() override { co_return true; }
  boost::asio::awaitable<void> rollback() override { co_return; }
  boost::asio::awaitable<Result<void>> savepoint(SavepointAction, std::string) override { co_return Result<void>(); }
  void fail_transaction() override {}
  void interrupt() override {
    ++all_.interrupts;
    if (waiting_) waiting_->cancel();
  }

 private:
  boost::asio::awaitable<Result<gateway::Rows>> piece() {
    all_.running_most = std::max(all_.running_most, ++all_.running);
    waiting_ = std::make_shared<boost::asio::steady_timer>(co_await boost::asio::this_coro::executor);
    waiting_->expires_after(at_->hangs ? std::chrono::hours(1) : std::chrono::hours(0));
    boost::system::error_code interrupted;
    co_await waiting_->async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, interrupted));
    waiting_.reset();
    --all_.running;
    if (interrupted) co_return Error(Errc::kCancelled, "canceling statement due to user request");
    gateway::Rows rows;
    if (next_ < pieces_.size()) rows.bytes = pieces_[next_++];
    rows.portal = next_ < pieces_.size() ? 1 : 0;
    co_return rows;
  }

  FakeRanges& all_;
  std::string database_;
  gateway::Limits limits_;
  FakeRanges::Range* at_{nullptr};
  std::vector<std::string> pieces_;
  std::size_t next_{0};
  std::optional<Error> lost_;
  std::shared_ptr<boost::asio::steady_timer> waiting_;
};

inline std::unique_ptr<gateway::Session> FakeRanges::open_session() {
  return std::make_unique<FakeRangeSession>(*this);
}

}  // namespace outlast::compute::test
