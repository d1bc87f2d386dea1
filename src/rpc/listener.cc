#include "rpc/listener.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <future>

#include "rpc/remote_channel.h"

namespace outlast::rpc {
namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {
constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
constexpr auto kHandshakePatience = 10s;
constexpr auto kAcceptPause = 100ms;  // after EMFILE and the like

enum class Speaks : std::uint8_t { kStream, kCalls, kTooLittle };
Speaks first_words(asio::ip::tcp::socket& socket) {
  char bytes[kWireMagic.size()];
  const ssize_t got = ::recv(socket.native_handle(), bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
  if (got <= 0) return Speaks::kCalls;  // gRPC finds out that it is gone
  const std::string_view words(bytes, static_cast<std::size_t>(got));
  if (!kWireMagic.starts_with(words)) return Speaks::kCalls;
  return words.size() == kWireMagic.size() ? Speaks::kStream : Speaks::kTooLittle;
}
}  // namespace

Listener::Listener(Services services, std::vector<asio::any_io_executor> executors, Calls calls)
    : services_(std::move(services)),
      executors_(std::move(executors)),
      calls_(std::move(calls)),
      strand_(asio::make_strand(executors_.front())) {}

Result<int> Listener::listen(const std::string& address) {
  ASSIGN_OR_RETURN(const auto parts, split_address(address));
  boost::system::error_code error;
  Tcp::resolver resolver(strand_);
  const auto acceptor = std::make_shared<Tcp::acceptor>(strand_);
  const auto found = resolver.resolve(parts.first, parts.second, Tcp::resolver::passive, error);
  if (!error) {
    const Tcp::endpoint where = found.begin()->endpoint();
    acceptor->open(where.protocol(), error);
    if (!error) acceptor->set_option(Tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor->bind(where, error);
    if (!error) acceptor->listen(asio::socket_base::max_listen_connections, error);
  }
  if (error)
    return Error(Errc::kUnavailable, "cannot listen on " + address + " for other nodes (" + error.message() +
                                         "): the address is taken or not ours; choose another --listen-addr");
  fcntl(acceptor->native_handle(), F_SETFD, FD_CLOEXEC);
  const int port = acceptor->local_endpoint().port();
  {
    const std::lock_guard lock(mutex_);
    acceptors_.push_back(acceptor);
  }
  asio::co_spawn(strand_, accept_forever(shared_from_this(), acceptor), asio::detached);
  return port;
}

asio::awaitable<void> Listener::accept_forever(std::shared_ptr<Listener> self, Acceptor acceptor) {
  for (;;) {
    auto strand = asio::make_strand(self->executors_[self->next_executor_++ % self->executors_.size()]);
    Tcp::socket socket(strand);
    const auto [error] = co_await acceptor->async_accept(socket, kTuple);
    if (!acceptor->is_open()) co_return;
    if (!error) {
      fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);
      asio::co_spawn(strand, take(self, std::move(socket)), asio::detached);
      continue;
    }
    if (error == asio::error::connection_aborted) continue;
    spdlog::warn("rpc: cannot accept a connection: {}", error.message());
    asio::steady_timer pause(self->strand_, kAcceptPause);
    co_await pause.async_wait(kTuple);
  }
}

/// Waits for the first bytes and tells whose they are.
asio::awaitable<void> Listener::take(std::shared_ptr<Listener> self, Tcp::socket socket) {
  Patience patience(socket, kHandshakePatience);
  const auto [error] = co_await socket.async_wait(Tcp::socket::wait_read, kTuple);
  if (error) co_return;
  for (Speaks who = first_words(socket); who != Speaks::kStream; who = first_words(socket)) {
    if (who == Speaks::kCalls) {
      patience.good();
      co_return self->serve_calls(std::move(socket));
    }
    asio::steady_timer rest(socket.get_executor(), 1ms);  // the rest of the magic is on its way
    co_await rest.async_wait(kTuple);
    if (!socket.is_open()) co_return;
  }
  patience.good();
  co_await self->serve_stream(std::move(socket));
}

void Listener::serve_calls(Tcp::socket socket) {
  const std::lock_guard lock(mutex_);
  if (stopped_) return;
  grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
  connection.fd = socket.release();
  fcntl(connection.fd, F_SETFL, fcntl(connection.fd, F_GETFL) | O_NONBLOCK);
  calls_->HandleNewConnection(&connection);
}

asio::awaitable<void> Listener::serve_stream(Tcp::socket socket) {
  tune(socket);
  Patience patience(socket, kHandshakePatience);
  const auto hello = co_await hear_wire(socket, services_.self);
  patience.good();
  if (!hello.ok()) co_return co_await welcome(socket, hello.error());
  const Hello peer{hello->cluster(), NodeId(hello->node()), Incarnation(hello->incarnation())};
  if (const auto stream = hello->stream(); stream == proto::WireHello::REPLICATE || stream == kBulk) {
    co_await welcome(socket, {});
    remember(services_.links->accept(std::move(socket), peer, stream == kBulk));
    co_return;
  }
  const Result<void> admitted = services_.admit(peer);
  co_await welcome(socket, admitted);
  if (!admitted.ok()) co_return;
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) co_return;
    ++channels_;
  }
  remember(serve_channel(std::move(socket), services_.open_channel(peer), [self = shared_from_this()] {
    const std::lock_guard lock(self->mutex_);
    if (--self->channels_ == 0) self->fewer_.notify_all();
  }));
}

void Listener::remember(std::shared_ptr<Connection> connection) {
  if (!connection) return;
  {
    const std::lock_guard lock(mutex_);
    if (!stopped_) {
      std::erase_if(connections_, [](const auto& weak) { return weak.expired(); });
      connections_.push_back(connection);
      return;
    }
  }
  connection->close();
}

void Listener::stop() {
  std::vector<std::weak_ptr<Connection>> open;
  std::vector<Acceptor> acceptors;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    open.swap(connections_);
    acceptors.swap(acceptors_);
  }
  std::promise<void> closed;
  asio::post(strand_, [&] {
    boost::system::error_code ignored;
    for (const Acceptor& acceptor : acceptors) acceptor->close(ignored);
    closed.set_value();
  });
  closed.get_future().wait();  // the next process of this node binds the same addresses
  for (const auto& weak : open)
    if (const auto connection = weak.lock()) connection->close();
  std::unique_lock lock(mutex_);
  fewer_.wait(lock, [this] { return channels_ == 0; });
}

}  // namespace outlast::rpc
