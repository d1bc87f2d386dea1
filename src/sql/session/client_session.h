#pragma once
#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "sql/session/portal_runner.h"
#include "sql/session/session_state.h"

namespace outlast::sql {

/// A session for people, while the node leaves service.
struct SessionView {
  std::uint32_t pid{0};
  std::string user, application;
  std::string what;  ///< What it does, with the statement's text without its constants.
  Duration age{0};   ///< Since when it does that.
  std::string name() const;
};

/// One client connection from its first byte to its last. run() is its coroutine; it never throws and returns when the
/// connection is closed. Between statements outside a transaction, with nothing half-read or unsent, a session is at a
/// safe point: there it may be stopped without the client losing anything (and, later, moved to another worker).
/// Thread-safety: run() on `strand`; stop(), stop_now(), stay(), watch(), describe() and described() from any
/// thread.
/// Lifetime: shared; run()'s spawner keeps one reference until it returns. `host` outlives it.
class ClientSession : public std::enable_shared_from_this<ClientSession> {
 public:
  ClientSession(SessionHost& host, std::unique_ptr<Stream> stream, boost::asio::any_io_executor strand);
  ~ClientSession();
  boost::asio::awaitable<void> run();

  /// Ends the session with 57P01 at its next safe point: at once when it is idle.
  void stop();
  /// Ends the session with 57P01 now: a running statement is interrupted, an open transaction rolled back.
  void stop_now();
  /// Takes stop() back, if the session is still there and nothing was said to the client.
  void stay();
  /// Called every so often by the server's one watchdog: slow readers, lost clients, idle and start-up limits.
  void watch(Instant now);
  Phase phase() const { return io_.phase(); }
  /// Asks the session to describe itself; described() has its last answer.
  void describe();
  std::optional<SessionView> described() const;

 private:
  enum class Next : std::uint8_t { kContinue, kClose };
  enum class Wake : std::uint8_t { kNone, kStop, kIdleInTransaction, kIdleSession };

  boost::asio::awaitable<void> serve();
  boost::asio::awaitable<Next> serve_frame(pgwire::Frame frame);
  boost::asio::awaitable<Next> on_message(pgwire::Message message);
  boost::asio::awaitable<Next> on_wait_ended(Error error);
  boost::asio::awaitable<Next> ready();
  boost::asio::awaitable<void> say_goodbye(Error error, std::string sqlstate);
  boost::asio::awaitable<void> told_to_go();
  /// Reports a failed statement and fails its transaction. kClose when the session cannot go on.
  boost::asio::awaitable<Next> report(Error error);

  boost::asio::awaitable<Next> on_query(pgwire::Query query);
  boost::asio::awaitable<Result<void>> run_query(std::string text);
  boost::asio::awaitable<Result<void>> on_parse(pgwire::Parse parse);
  boost::asio::awaitable<Result<void>> on_bind(pgwire::Bind bind);
  boost::asio::awaitable<Result<void>> on_describe(pgwire::Describe describe);
  boost::asio::awaitable<Result<void>> on_execute(pgwire::Execute execute);
  boost::asio::awaitable<Result<void>> on_close(pgwire::Close close);
  boost::asio::awaitable<Next> on_sync();
  boost::asio::awaitable<Result<void>> on_extended(pgwire::Message message);

  void on_cancel_request();
  void watch_here();
  bool at_safe_point() const;
  void enter_waiting();

  SessionHost& host_;
  boost::asio::any_io_executor strand_;
  Connection io_;
  SessionState state_;
  Transactions transactions_;
  PortalRunner portals_;
  CancelKey key_;
  bool skip_to_sync_{false};
  bool stop_wanted_{false}, stop_now_{false};
  Wake wake_{Wake::kNone};
  mutable std::mutex view_mutex_;
  std::optional<SessionView> view_;          ///< Under view_mutex_.
  std::atomic<std::int64_t> idle_limit_{0};  ///< Longest present wait for the client, ns; 0 = none.
};

}  // namespace outlast::sql
