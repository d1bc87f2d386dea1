#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/result.h"

namespace outlast::http {

struct Request {
  std::string method;
  std::string path;  ///< Without the query, percent-decoded.
  std::map<std::string, std::string> query;
  std::string body;
};
struct Response {
  int status{200};
  std::string content_type{"application/json"};
  std::string body;
  static Response json(std::string text, int status = 200) { return {status, "application/json", std::move(text)}; }
  static Response text(std::string text, int status = 200) {
    return {status, "text/plain; charset=utf-8", std::move(text)};
  }
  /// The error table's HTTP status and a JSON body with code and message.
  static Response error(const Error& error);
};
using Handler = std::function<boost::asio::awaitable<Response>(Request)>;

/// A small HTTP/1.0 and 1.1 server (Boost.Beast, which stays inside server.cc): health, metrics, admin API. Limits:
/// headers 16 KiB, body 1 MiB, 30 s for a request, 256 connections.
/// Thread-safety: add routes before start; handlers run on `executor`, several at once.
class Server {
 public:
  explicit Server(boost::asio::any_io_executor executor);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  /// Exact path, or a prefix when `path` ends with '/'; the longest match wins. HEAD is answered as GET without body.
  void route(std::string method, std::string path, Handler handler);
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
