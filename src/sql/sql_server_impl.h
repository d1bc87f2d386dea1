#pragma once
#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "sql/session/client_session.h"
#include "sql/sql_server.h"

namespace outlast::sql {

/// What is behind SqlServer: shared with the coroutines of its sessions. Thread-safety: any thread for what is public.
class SqlServer::Impl : public std::enable_shared_from_this<Impl> {
 public:
  using Tcp = boost::asio::ip::tcp;
  using Sink = std::function<void(LeavingSession)>;
  Impl(std::vector<boost::asio::any_io_executor> executors, gateway::Cluster& cluster, const Clock& clock,
       SessionOptions options);

  Result<void> listen(int fd);
  void stop_accepting();
  void stop(Duration limit, std::function<void()> done);
  void shed(Shedding how);
  void abandon();
  void move_out(Sink sink, std::size_t at_once);
  void move_on(std::size_t arrived);
  void keep_sessions();
  std::vector<MoveView> move_plan() const;
  Result<void> take_in(proto::SessionState state, int fd, std::shared_ptr<SessionObserver> observer);
  std::vector<std::shared_ptr<ClientSession>> sessions() const;
  Load load() const;

  SessionHost host;

 private:
  static boost::asio::awaitable<void> accept_loop(std::shared_ptr<Impl> self, std::shared_ptr<Tcp::acceptor> acceptor);
  static boost::asio::awaitable<void> run_session(std::shared_ptr<Impl> self, std::shared_ptr<ClientSession> session,
                                                  std::uint64_t id);
  static boost::asio::awaitable<void> watch_loop(std::shared_ptr<Impl> self);
  boost::asio::any_io_executor next_strand();
  void start(std::shared_ptr<ClientSession> session, boost::asio::any_io_executor strand);
  void begin_watching();
  void shed_now();
  void check_stopped();
  void hand_over(LeavingSession left);
  void move_when_stuck();

  const std::vector<boost::asio::any_io_executor> executors_;
  std::atomic<std::size_t> next_executor_{0};
  boost::asio::any_io_executor executor_;  ///< A strand: acceptors, watchdog and stopping.
  boost::asio::steady_timer watchdog_;
  std::vector<std::shared_ptr<Tcp::acceptor>> acceptors_;
  std::atomic<bool> watching_{false}, stopping_{false};
  Shedding shedding_{Shedding::kNone};
  Instant stop_at_{};
  std::uint64_t moved_out_seen_{0};  ///< By move_when_stuck().
  std::vector<std::function<void()>> stopped_;
  mutable std::mutex mutex_;  ///< Of what follows.
  std::uint64_t next_id_{0};
  std::unordered_map<std::uint64_t, std::shared_ptr<ClientSession>> sessions_;
  std::shared_ptr<const Sink> sink_;                ///< Set: sessions that come to a safe point leave.
  std::vector<std::weak_ptr<ClientSession>> idle_;  ///< Those that move_on() asks to leave.
  std::size_t at_once_{0};
};

}  // namespace outlast::sql
