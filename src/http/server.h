#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/loop.h"
#include "base/result.h"

namespace outlast::http {

struct Request {
  std::string method;
  std::string path;  ///< Without the query, percent-decoded.
  std::map<std::string, std::string> query;
  std::map<std::string, std::string> headers;  ///< Names in lower case; of several with one name the last.
  std::string body;
  const std::string& header(const std::string& name) const;  ///< Empty when there is none.
};
struct Response {
  int status{200};
  std::string content_type{"application/json"};
  std::string body;
  std::map<std::string, std::string> headers{};  ///< Besides the usual ones.
  static Response json(std::string text, int status = 200) { return {status, "application/json", std::move(text)}; }
  static Response text(std::string text, int status = 200) {
    return {status, "text/plain; charset=utf-8", std::move(text)};
  }
  /// The error table's HTTP status and a JSON body with code and message.
  static Response error(const Error& error);
};
using Handler = std::function<boost::asio::awaitable<Response>(Request)>;

/// A body that is taken as it comes: what is not asked for waits at the client.
class BodyStream {
 public:
  virtual ~BodyStream() = default;
  /// The next bytes; empty at the end. kDeadline when the client sends nothing for too long, kTooLarge, kUnavailable
  /// when it went away before the end. The first call says "100 Continue" to a client that waits for it.
  virtual boost::asio::awaitable<Result<std::string>> next() = 0;
};
/// `body` lives as long as the call.
using StreamHandler = std::function<boost::asio::awaitable<Response>(Request, BodyStream* body)>;
struct StreamLimits {
  std::uint64_t body_max{std::uint64_t{1} << 40};
  Duration silence{std::chrono::seconds(30)};  ///< Longest time without a byte of the body.
};

/// A small HTTP/1.0 and 1.1 server (Boost.Beast, which stays inside server.cc): health, metrics, admin API, loads.
/// Limits: headers 16 KiB, body 1 MiB unless the route takes it as a stream, 30 s for a request (then: for each piece
/// of the stream), 256 connections. Larger headers are answered with 431, larger bodies with 413. A handler that
/// answers before the end of a stream ends the connection. Thread-safety: add routes before start; handlers run on
/// `executor`, several at once.
class Server {
 public:
  explicit Server(boost::asio::any_io_executor executor);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  /// Exact path, or a prefix when `path` ends with '/'; the longest match wins. HEAD is answered as GET without body.
  void route(std::string method, std::string path, Handler handler);
  void route_stream(std::string method, std::string path, StreamLimits limits, StreamHandler handler);
  /// Accepts on an inherited listening socket; the socket is never shut down, only this copy is closed at the end.
  /// Takes the descriptor over. May be called again after pause().
  void start(int listen_fd);
  /// Accepts no more, and lets each open connection go after its present request: for whoever else has the socket.
  void pause();
  void stop();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace outlast::http
