#pragma once
#include <grpcpp/grpcpp.h>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/strand.hpp>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "rpc/server.h"
#include "rpc/wire.h"

namespace outlast::rpc {

/// The port for other nodes. Looks at the first bytes of each connection: data streams are served here, everything else
/// is handed to gRPC. Thread-safety: any thread. Lifetime: shared with its connections.
class Listener : public std::enable_shared_from_this<Listener> {
 public:
  using Calls = std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor>;
  Listener(Services services, std::vector<boost::asio::any_io_executor> executors, Calls calls);
  /// The port; kUnavailable when the address is taken or not ours. May be called for several addresses, one by one.
  Result<int> listen(const std::string& address);
  /// Takes no connection any more, ends those that were taken and waits until the channels behind them are gone.
  void stop();

 private:
  using Tcp = boost::asio::ip::tcp;
  using Acceptor = std::shared_ptr<Tcp::acceptor>;
  static boost::asio::awaitable<void> accept_forever(std::shared_ptr<Listener> self, Acceptor acceptor);
  static boost::asio::awaitable<void> take(std::shared_ptr<Listener> self, Tcp::socket socket);
  boost::asio::awaitable<void> serve_stream(Tcp::socket socket);
  void serve_calls(Tcp::socket socket);
  void remember(std::shared_ptr<Connection> connection);

  const Services services_;
  const std::vector<boost::asio::any_io_executor> executors_;
  std::size_t next_executor_{0};  ///< Of the strand.
  const Calls calls_;
  boost::asio::strand<boost::asio::any_io_executor> strand_;  ///< Of the acceptors.

  std::mutex mutex_;
  std::condition_variable fewer_;
  bool stopped_{false};
  std::vector<Acceptor> acceptors_;
  std::vector<std::weak_ptr<Connection>> connections_;
  std::size_t channels_{0};
};

}  // namespace outlast::rpc
