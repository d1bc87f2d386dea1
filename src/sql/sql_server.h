#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "gateway/cluster.h"
#include "sql/session/client_session.h"
#include "sql/session/session_host.h"
#include "sql/session/session_move.h"

namespace outlast::sql {

/// The SQL port: accepts PostgreSQL clients from a listening socket and runs a session for each on a strand of its own,
/// on the executors in turn.
/// Thread-safety: any thread. Lifetime: `cluster` and `clock` outlive it, and so must the executors' io_contexts;
/// destroy it only after stop() has called back, or once they have been stopped for good.
class SqlServer {
 public:
  SqlServer(std::vector<boost::asio::any_io_executor> executors, gateway::Cluster& cluster, const Clock& clock,
            SessionOptions options = {});
  ~SqlServer();
  SqlServer(const SqlServer&) = delete;

  /// Accepts from this listening TCP socket, which may be shared with other processes (inherited from the supervisor):
  /// it is closed here in the end, never shut down. Takes the fd over. May be called for several sockets. Errors: kIo.
  Result<void> listen(int fd);
  /// Closes our copies of the listening sockets: connections then wait in the kernel for whoever else listens.
  void stop_accepting();
  /// Ends all sessions: idle ones at once with 57P01, busy ones when their transaction ends, those left after `limit`
  /// then and there. `done` runs once, on the first executor, when none is left.
  void stop(Duration limit, std::function<void()> done);

  /// What sessions of a node that leaves service are told; SqlServer goes on accepting, so that Startup can say 57P03.
  enum class Shedding : std::uint8_t {
    kNone,          ///< Nothing; who was told and has not gone yet may stay.
    kAtSafePoints,  ///< Idle ones end with 57P01 at once, busy ones when their transaction ends.
    kNow,           ///< All end with 57P01 now: statements are interrupted, transactions rolled back.
  };
  void shed(Shedding how);
  /// While shedding: the sessions that are left, as they were a moment ago.
  std::vector<SessionView> sessions_left() const;
  // Moving sessions to another worker (protocol A8.2).
  /// From now on every session that comes to a safe point leaves: `sink` gets it, on any thread. Idle ones leave at
  /// once, those that start up too, with what they have read so far. Accepting is stopped separately. `at_once`: so
  /// many idle ones, and others as move_on() says that some have arrived; the rest is served meanwhile.
  void move_out(std::function<void(LeavingSession)> sink, std::size_t at_once = SIZE_MAX);
  void move_on(std::size_t arrived);
  /// Takes move_out() back: sessions that have not left stay. The sink may still be called for one that just leaves.
  void keep_sessions();
  /// What move_out() would find. Blocks for as long as the sessions need to look at themselves (2 s at most, then
  /// those that have not are missing); not to be called on an executor's thread.
  std::vector<MoveView> move_plan() const;
  /// Goes on with a session that left another worker; takes `fd` over, also on an error. `observer` may be null.
  /// kInvalidArgument names what of the state cannot be had here; then the client was told 57P01.
  Result<void> take_in(proto::SessionState state, int fd, std::shared_ptr<SessionObserver> observer);

  /// A cancel request that came to another worker (SessionOptions::forward_cancel). False: no such session is here.
  bool cancel(std::int32_t pid, std::string_view key);

  /// SessionOptions::sessions_max, from now on.
  void set_sessions_max(std::int64_t most);
  /// Of connections and statements; closing it refuses new ones with the error that it is given.
  lifecycle::Gate& gate();

  /// Sessions at this instant, by what they do.
  struct Load {
    std::size_t idle{0}, busy{0}, in_transaction{0};
    std::size_t all() const { return idle + busy + in_transaction; }
  };
  Load load() const;
  const SqlMetrics& metrics() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace outlast::sql
