#include <poll.h>
#include <sys/socket.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <cstring>

#include "sql/session/stream.h"

namespace outlast::sql {
namespace {
namespace asio = boost::asio;
constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);

class TcpStream final : public Stream {
 public:
  explicit TcpStream(asio::ip::tcp::socket socket) : socket_(std::move(socket)) {
    boost::system::error_code ignored;  // a connection that is gone already shows at the first read
    socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
    socket_.set_option(asio::socket_base::keep_alive(true), ignored);
  }

  asio::awaitable<Result<std::size_t>> read_some(char* data, std::size_t n) override {
    const auto [error, count] = co_await socket_.async_read_some(asio::buffer(data, n), kTuple);
    if (error == asio::error::eof) co_return std::size_t{0};
    if (error == asio::error::operation_aborted) co_return Error(Errc::kCancelled, "the read was ended");
    if (error) co_return Error(Errc::kUnavailable, "cannot read from the client: " + error.message());
    co_return count;
  }

  asio::awaitable<Result<void>> wait_readable() override {
    const auto [error] = co_await socket_.async_wait(asio::socket_base::wait_read, kTuple);
    if (error == asio::error::operation_aborted) co_return Error(Errc::kCancelled, "the wait was ended");
    if (error) co_return Error(Errc::kUnavailable, "cannot read from the client: " + error.message());
    co_return Result<void>();
  }

  // Not asio::async_write: a cancel that comes between two of its parts would be lost.
  asio::awaitable<Result<std::size_t>> write_all(std::string_view bytes) override {
    write_cut_ = false;
    std::size_t taken = 0;
    while (taken < bytes.size() && !write_cut_) {
      const auto [error, count] = co_await socket_.async_write_some(asio::buffer(bytes.substr(taken)), kTuple);
      taken += count;
      if (error && !(write_cut_ && error == asio::error::operation_aborted))
        co_return Error(Errc::kUnavailable, "cannot write to the client: " + error.message());
    }
    co_return taken;
  }

  Result<std::size_t> write_now(std::string_view bytes) override {
    const ssize_t taken = ::send(socket_.native_handle(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (taken >= 0) return static_cast<std::size_t>(taken);
    if (errno == EAGAIN || errno == EINTR) return std::size_t{0};
    return Error(Errc::kUnavailable, std::string("cannot write to the client: ") + std::strerror(errno));
  }

  void cancel_write() override {
    write_cut_ = true;
    boost::system::error_code ignored;
    socket_.cancel(ignored);
  }

  int release() override {
    if (!socket_.is_open()) return -1;
    boost::system::error_code error;
    const int fd = socket_.release(error);
    return error ? -1 : fd;
  }

  void cancel_read() override {
    boost::system::error_code ignored;
    socket_.cancel(ignored);
  }

  bool peer_gone() override {
    if (!socket_.is_open()) return true;
    pollfd poll{.fd = socket_.native_handle(), .events = POLLRDHUP, .revents = 0};
    return ::poll(&poll, 1, 0) > 0 && (poll.revents & (POLLRDHUP | POLLERR | POLLHUP)) != 0;
  }

  void close() override {
    boost::system::error_code ignored;
    // Without the shutdown a close with unread input makes the kernel send RST, which can eat the last error message.
    socket_.shutdown(asio::socket_base::shutdown_send, ignored);
    socket_.close(ignored);
  }

  std::string peer_name() const override {
    boost::system::error_code error;
    const auto peer = socket_.remote_endpoint(error);
    return error ? "unknown" : peer.address().to_string() + ":" + std::to_string(peer.port());
  }

 private:
  asio::ip::tcp::socket socket_;
  bool write_cut_{false};  ///< cancel_write() came while write_all() ran.
};
}  // namespace

std::unique_ptr<Stream> make_tcp_stream(asio::ip::tcp::socket socket) {
  return std::make_unique<TcpStream>(std::move(socket));
}

}  // namespace outlast::sql
