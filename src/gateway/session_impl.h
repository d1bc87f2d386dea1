#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "gateway/cluster_impl.h"
#include "gateway/retry.h"
#include "gateway/session.h"
#include "proto/exec.pb.h"

namespace outlast::gateway {

/// Session over channels to leaseholders. See session.h for its promises.
class SessionImpl final : public Session {
 public:
  explicit SessionImpl(std::shared_ptr<Gateway> gateway);

  boost::asio::awaitable<Result<void>> use_database(std::string name) override;
  const std::string& database() const override { return database_; }
  TxnStatus status() const override { return status_; }
  Limits& limits() override { return limits_; }
  Seen seen() const override { return seen_; }
  void resume(std::string database, Seen seen) override;
  boost::asio::awaitable<Result<Rows>> run(Statement statement) override;
  boost::asio::awaitable<Result<Rows>> fetch(std::uint64_t portal, std::uint64_t max_rows) override;
  boost::asio::awaitable<void> close_portal(std::uint64_t portal) override;
  boost::asio::awaitable<Result<Rows>> describe(std::string sql, bool internal) override;
  Result<void> begin(TxnOptions options) override;
  boost::asio::awaitable<Result<bool>> commit() override;
  boost::asio::awaitable<void> rollback() override;
  boost::asio::awaitable<Result<void>> savepoint(SavepointAction action, std::string name) override;
  void fail_transaction() override;
  void interrupt() override;

 private:
  using ChannelPtr = std::shared_ptr<executor::Channel>;
  using Reply = Result<proto::ExecReply>;
  /// A channel and what it was opened for.
  struct Leaseholder {
    ChannelPtr channel;
    RangeId range;
    Route route;
  };
  struct Attempted {
    std::optional<Reply> answer;  ///< None: it provably did nothing, again.
    bool resolved{false};         ///< A leaseholder had to be asked for that.
  };
  /// A write whose answer may get lost, and what is needed to ask for it (session_resolve.cc).
  struct InDoubt {
    RangeId range;
    Epoch addressed;
    std::uint64_t request;
    Lsn after;      ///< Durable before it was sent.
    Instant sent;   ///< Just before it was.
    Instant until;  ///< The statement's deadline.
  };
  struct Fate {
    Resolution kind{Resolution::kUnknown};
    proto::ExecReply reply;  ///< kApplied: as the write would have answered.
  };
  struct Portal {
    Leaseholder where;
    std::uint64_t id;  ///< The leaseholder's number for it.
    bool in_transaction;
  };
  /// `range`: nullopt is the database's own, whichever that is when the request goes out.
  boost::asio::awaitable<Reply> route_and_call(proto::ExecRequest request, bool is_read, std::optional<RangeId> range);
  boost::asio::awaitable<Attempted> attempt(RangeId range, Route route, proto::ExecRequest request, bool is_read,
                                            Instant until);
  boost::asio::awaitable<Reply> call_in_transaction(proto::ExecRequest request);
  boost::asio::awaitable<proto::ExecReply> call(Leaseholder where, proto::ExecRequest request, Instant deadline);
  InDoubt about_to_write(const Leaseholder& where, std::uint64_t request, Instant until) const;
  boost::asio::awaitable<Fate> resolve(InDoubt write);
  boost::asio::awaitable<std::optional<Reply>> settle(InDoubt write, std::uint64_t max_rows);
  boost::asio::awaitable<Result<bool>> settle_commit(InDoubt write);
  boost::asio::awaitable<Result<void>> ensure_started();
  Result<ChannelPtr> channel_to(const Route& route);
  boost::asio::awaitable<void> hold(RangeId range, std::uint64_t seen, Duration at_most);
  Rows to_rows(proto::ExecReply reply, const Leaseholder& where);
  proto::ExecRequest statement_request(std::string sql, bool internal) const;
  Result<void> usable() const;
  Result<void> stays_in_range(std::optional<RangeId> range) const;
  void lose_transaction();
  void end_transaction();
  void start_operation();
  bool interrupted();
  Instant deadline() const;

  const std::shared_ptr<Gateway> gateway_;
  std::string database_;
  Limits limits_;
  TxnStatus status_{TxnStatus::kIdle};
  TxnOptions options_;
  std::optional<Leaseholder> transaction_;  ///< Where the open transaction runs; none before its first statement.
  std::optional<Leaseholder> last_;         ///< Channel kept for the next statement outside a transaction.
  std::map<std::uint64_t, Portal> portals_;
  std::uint64_t next_portal_{1};
  SeededRandom random_;
  Seen seen_;

  std::mutex mutex_;  ///< Of what interrupt() touches.
  ChannelPtr running_;
  std::shared_ptr<RouteSleeper> sleeping_;
  bool interrupted_{false};
};

}  // namespace outlast::gateway
