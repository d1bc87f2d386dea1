#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <memory>
#include <unordered_set>
#include <vector>

#include "ingest/input/door.h"
#include "ingest/input/http_content.h"

namespace outlast::ingest {

/// The thread of an HttpInput. (Boost.Beast stays inside http_loop.)
/// Thread-safety: all on the thread in run(), but the constructor, context() and door().done.
class HttpLoop final : public std::enable_shared_from_this<HttpLoop> {
 public:
  HttpLoop(const InputOptions& options, Intake& intake, std::shared_ptr<InputStats> stats);
  boost::asio::io_context& context() { return *context_; }
  void run();
  void listen(int fd);
  void adopt(MovedConnection connection);
  /// Answers what is under way, and one request more on each connection; door().done when all have ended.
  void close();
  void reopen();
  Door& door() { return door_; }
  /// Gives the connections whose next request is not whole to `to` when it has them all; the others go to `later`
  /// behind their answer, or are closed when that is null. Precondition: door().stop_accepting(), a task ago.
  void release(std::function<void(std::vector<MovedConnection>)> to, Input::Later later);
  /// Ends run() when the last request is answered; after stop_wait it answers what is left.
  void finish();
  Instant last_read() const { return last_read_; }

 private:
  struct Connection {
    explicit Connection(boost::asio::ip::tcp::socket socket) : stream(std::move(socket)) {}
    boost::beast::tcp_stream stream;
    boost::beast::flat_buffer buffer;
    boost::asio::cancellation_signal give_up;  ///< Ends it wherever it waits.
    std::string peer;
    bool reading{false};  ///< Waits for bytes of a request.
    bool linger{false};   ///< Answered before all of the request was read.
    bool moves{false};    ///< Goes on elsewhere, with what is in `buffer`.
  };
  using Ptr = std::shared_ptr<Connection>;

  void accept_connections();
  boost::asio::awaitable<void> accept_all();
  void accepted(boost::asio::ip::tcp::socket socket);
  void add(const Ptr& connection);
  boost::asio::awaitable<void> serve(Ptr connection);
  boost::asio::awaitable<boost::system::error_code> read_some(Connection& connection, std::size_t size);
  boost::asio::awaitable<boost::system::error_code> read_until(Connection& connection, HttpRequest& request,
                                                               HttpRequest::Stage stage);
  boost::asio::awaitable<bool> request_begins(Connection& connection);
  boost::asio::awaitable<bool> request(Connection& connection);
  boost::asio::awaitable<HttpAnswer> read_and_take(Connection& connection, HttpRequest& request);
  boost::asio::awaitable<HttpAnswer> take(Connection& connection, HttpRequest& request, HttpContent content);
  boost::asio::awaitable<bool> answer(Connection& connection, const HttpAnswer& answer, unsigned version, bool keep);
  boost::asio::awaitable<void> close(Connection& connection);
  void give(Connection& connection);
  void wake_readers();
  void end_late();
  void look_for_end();
  bool can_move() const { return releasing_ && !late_ && (release_to_ || later_); }

  const InputOptions& options_;
  std::shared_ptr<InputStats> stats_;
  SharedContext context_;
  HttpDelivery delivery_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  Door door_;
  boost::asio::steady_timer stop_timer_;
  std::unordered_set<Ptr> connections_;
  std::size_t reading_{0};
  std::vector<MovedConnection> released_;
  std::function<void(std::vector<MovedConnection>)> release_to_;
  Input::Later later_;
  Instant last_read_{};
  bool finishing_{false}, releasing_{false}, late_{false};
};

}  // namespace outlast::ingest
