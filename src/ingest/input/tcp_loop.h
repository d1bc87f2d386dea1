#pragma once
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <unordered_set>
#include <vector>

#include "ingest/input/door.h"
#include "ingest/input/input.h"

namespace outlast::ingest {

/// The thread of a TcpInput.
/// A connection that has just spoken is not waited for at once but read again 2 ms later, so that a busy one costs one
/// read for many records instead of being woken for each.
/// Thread-safety: all on the thread in run(), but the constructor, context() and door().done.
class TcpLoop final : public std::enable_shared_from_this<TcpLoop>, private FrameSink {
 public:
  TcpLoop(const InputOptions& options, Intake& intake, std::shared_ptr<InputStats> stats);
  boost::asio::io_context& context() { return context_; }
  void run();

  void listen(int fd);
  void adopt(MovedConnection connection);
  /// Tells the connections, which have close_wait to end by themselves; door().done when they have.
  void close();
  void reopen();
  Door& door() { return door_; }
  /// Precondition: door().stop_accepting(), a task ago.
  std::vector<MovedConnection> release();
  /// Ends run().
  StopReport finish();

 private:
  struct Connection {
    explicit Connection(boost::asio::ip::tcp::socket s, Framer f) : socket(std::move(s)), framer(std::move(f)) {}
    boost::asio::ip::tcp::socket socket;
    Framer framer;
    std::string peer;
    Instant heard{};         ///< When bytes came last.
    Instant record_began{};  ///< When the unfinished record began.
    bool listed{false};      ///< In ready_.
    bool gone{false};
  };
  using Ptr = std::shared_ptr<Connection>;

  void accept_next();
  void accepted(boost::asio::ip::tcp::socket socket);
  void add(boost::asio::ip::tcp::socket socket, Framer framer, std::string peer);
  void wait(const Ptr& connection);
  void list(const Ptr& connection);
  bool read(const Ptr& connection);
  void end(const Ptr& connection);
  void read_and_end_all();
  void tell(const Ptr& connection);
  void end_told_later(Duration wait);
  void look_whether_closed();
  void record(std::string_view bytes, FrameFault fault) override;

  bool blocked() const { return held_ || resting_; }
  void turn_ends_soon();
  void flush();
  void put();
  void unblock(bool& reason);
  void rest(Duration debt);
  void tick();
  void tick_soon();
  void sweep_later();
  void sweep();

  const InputOptions& options_;
  Intake& intake_;
  std::shared_ptr<InputStats> stats_;
  boost::asio::io_context context_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  Door door_;
  boost::asio::steady_timer tick_timer_, rest_timer_, sweep_timer_, accept_timer_, close_timer_;
  std::unordered_set<Ptr> connections_;
  std::vector<Ptr> ready_;
  std::vector<char> buffer_;
  RecordBatch batch_;
  std::uint64_t batch_payload_{0}, batch_cut_{0}, batch_malformed_{0};
  TokenBucket bucket_;
  std::string scratch_;
  std::string_view peer_;  ///< Of the connection that is being read.
  std::int64_t wall_micros_{0};
  Instant now_{}, last_read_{}, blocked_since_{};
  bool held_{false}, resting_{false}, flush_posted_{false}, tick_set_{false}, much_{false}, finished_{false};
};

}  // namespace outlast::ingest
