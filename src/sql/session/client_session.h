#pragma once
#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "sql/session/portal_runner.h"
#include "sql/session/session_move.h"
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

/// ": " and the shape of a statement, without its constants.
std::string statement_for_people(const Prepared* prepared);

/// One client connection from its first byte to its last. run() is its coroutine; it never throws and returns when the
/// connection is closed or has left. Between statements outside a transaction a session is at a safe point: what it is
/// then fits into a proto::SessionState, half a message that came and half an answer that waits included, so that it
/// may leave for another worker. With nothing half-read or unsent it is also at rest: there it may be stopped without
/// the client losing anything.
/// Thread-safety: run() on `strand`, restore() before it; take_left() after it; the others from any thread.
/// Lifetime: shared; run()'s spawner keeps one reference until it returns. `host` outlives it.
class ClientSession : public std::enable_shared_from_this<ClientSession> {
 public:
  ClientSession(SessionHost& host, std::unique_ptr<Stream> stream, boost::asio::any_io_executor strand);
  ~ClientSession();
  boost::asio::awaitable<void> run();
  /// Goes on with what another worker's session was. On an error run() tells the client to connect again.
  Result<void> restore(proto::SessionState state, std::shared_ptr<SessionObserver> observer);
  /// What it is, for another worker. Precondition: at a safe point, or starting up.
  proto::SessionState exported() const;

  /// Leaves for another worker at its next safe point: at once when it is there.
  void leave();
  /// Takes leave() back, if the session is still there.
  void keep();
  /// Where it is now, if it has left.
  std::optional<LeavingSession> take_left() { return std::exchange(left_, std::nullopt); }
  /// Whether and when it could leave; `done` runs on the strand.
  void look(std::function<void(MoveView)> done);

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
  boost::asio::awaitable<bool> start_up();
  /// Before each wait for the client: leaves when it shall, sends what is left of an answer.
  boost::asio::awaitable<Next> settle();
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
  std::function<void()> cancel_hook();
  void watch_here();
  bool at_safe_point() const;
  bool at_rest() const;
  void enter_waiting();
  /// False: it cannot, and stays. True: nothing is left to do for it here.
  bool leave_now();
  void finish_leaving();
  std::string move_obstacle() const;
  SessionView view() const;
  Result<void> restore_parts(const proto::SessionState& state);
  void export_prepared(proto::SessionState& out) const;
  void carry(proto::SessionState state);
  void export_carried(proto::SessionState& out) const;

  SessionHost& host_;
  boost::asio::any_io_executor strand_;
  Connection io_;
  SessionState state_;
  Transactions transactions_;
  PortalRunner portals_;
  CancelKey key_;
  bool skip_to_sync_{false};
  bool stop_wanted_{false}, stop_now_{false};
  bool unsent_{false};     ///< `io_.out` holds the rest of an answer that was cut, or that came from another worker.
  bool unfit_{false};      ///< restore() failed.
  bool too_large_{false};  ///< To leave.
  std::optional<LeavingSession> left_;
  std::unique_ptr<proto::SessionState> carried_;  ///< What another worker's state held and nobody here knows.
  Wake wake_{Wake::kNone};
  mutable std::mutex view_mutex_;
  std::optional<SessionView> view_;          ///< Under view_mutex_.
  std::atomic<std::int64_t> idle_limit_{0};  ///< Longest present wait for the client, ns; 0 = none.
};

}  // namespace outlast::sql
