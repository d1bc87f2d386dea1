#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <memory>
#include <unordered_set>
#include <vector>

#include "ingest/input/body.h"
#include "ingest/input/http_delivery.h"
#include "ingest/input/unpack.h"

namespace outlast::ingest {

/// The thread of an HttpInput. (Boost.Beast stays inside http_loop.)
/// Thread-safety: all on the thread in run(), but the constructor, context() and tell_end().
class HttpLoop final : public std::enable_shared_from_this<HttpLoop> {
 public:
  HttpLoop(const InputOptions& options, Intake& intake, std::shared_ptr<InputStats> stats);
  boost::asio::io_context& context() { return *context_; }
  void run();
  void listen(int fd);
  void adopt(MovedConnection connection);
  /// Those that were accepted before are added by tasks that are posted already.
  void stop_accepting();
  /// Gives the connections that are between two requests to `to` when it has them all, the others are closed behind
  /// their answer. Precondition: stop_accepting(), a task ago.
  void release(std::function<void(std::vector<MovedConnection>)> to);
  /// Ends run() when the last request is answered, or after stop_wait.
  void finish();
  Instant last_read() const { return last_read_; }

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  struct Connection {
    explicit Connection(boost::asio::ip::tcp::socket socket) : stream(std::move(socket)) {}
    boost::beast::tcp_stream stream;
    boost::beast::flat_buffer buffer;
    boost::asio::cancellation_signal give_up;  ///< Ends it wherever it waits.
    std::string peer;
    bool idle{false};    ///< Waits for the first byte of a request.
    bool linger{false};  ///< Answered before all of the request was read.
  };
  using Ptr = std::shared_ptr<Connection>;

  boost::asio::awaitable<void> accept_all();
  void accepted(boost::asio::ip::tcp::socket socket);
  void add(const Ptr& connection);
  boost::asio::awaitable<void> serve(Ptr connection);
  boost::asio::awaitable<bool> request_begins(Connection& connection);
  boost::asio::awaitable<bool> request(Connection& connection);
  boost::asio::awaitable<HttpAnswer> read_and_take(Connection& connection, Parser& parser);
  boost::asio::awaitable<HttpAnswer> take(Connection& connection, Parser& parser, BodyFormat format, Packing packing);
  boost::asio::awaitable<bool> answer(Connection& connection, const HttpAnswer& answer, unsigned version, bool keep);
  boost::asio::awaitable<void> close(Connection& connection);
  void wake_idle();
  void look_for_end();
  bool ending() const { return finishing_ || releasing_; }

  const InputOptions& options_;
  std::shared_ptr<InputStats> stats_;
  SharedContext context_;
  HttpDelivery delivery_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  boost::asio::ip::tcp::acceptor acceptor_;
  boost::asio::steady_timer stop_timer_;
  std::unordered_set<Ptr> connections_;
  std::size_t idle_{0};
  std::vector<MovedConnection> released_;
  std::function<void(std::vector<MovedConnection>)> release_to_;
  Instant last_read_{};
  bool finishing_{false}, releasing_{false};
};

}  // namespace outlast::ingest
