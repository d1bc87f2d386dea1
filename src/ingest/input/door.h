#pragma once
#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <functional>

#include "ingest/input/socket.h"

namespace outlast::ingest {

/// How connections come in to an input's thread, and no more. Thread-safety: on that thread, but `done`.
class Door {
 public:
  explicit Door(boost::asio::io_context& context) : acceptor(context) {}

  /// Goes on with a bound socket, which the door owns from now on. Accepting is the caller's.
  void listen(int fd) {
    socket_ = Fd(fd);
    assign();
  }
  /// Those that were accepted before are added by tasks that are posted already.
  void stop_accepting() {
    close_acceptor();
    socket_ = Fd();
  }
  /// Who has come is taken in, nobody else comes. Nothing after stop_accepting().
  void close(const std::string& input, const std::function<void(boost::asio::ip::tcp::socket)>& accepted);
  /// After close().
  void reopen(const std::string& input);

  boost::asio::ip::tcp::acceptor acceptor;
  bool closing{false};            ///< Between close() and reopen().
  std::atomic<bool> done{false};  ///< Closed, and nobody of those who were there is left.

 private:
  void assign();
  void close_acceptor() {
    boost::system::error_code ignored;
    acceptor.close(ignored);
  }
  Fd socket_{-1};
};

}  // namespace outlast::ingest
