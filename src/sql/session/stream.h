#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace outlast::sql {

/// The bytes of one client connection: TCP today; TLS comes behind the same
/// words. Thread-safety: the session's strand only. Errors are kUnavailable, except where said.
class Stream {
 public:
  virtual ~Stream() = default;
  /// Between 1 and `n` bytes; 0 when the client closed its side. kCancelled after cancel_read().
  virtual boost::asio::awaitable<Result<std::size_t>> read_some(char* data, std::size_t n) = 0;
  /// Returns when bytes, or the client's end, can be read. kCancelled after cancel_read().
  virtual boost::asio::awaitable<Result<void>> wait_readable() = 0;
  /// Returns when the kernel has taken all of it; after cancel_write() earlier. How many bytes it has taken, exactly.
  /// `bytes` must stay alive meanwhile.
  virtual boost::asio::awaitable<Result<std::size_t>> write_all(std::string_view bytes) = 0;
  /// As much as the kernel takes now. Not while write_all() waits.
  virtual Result<std::size_t> write_now(std::string_view bytes) = 0;
  /// Ends a read that is waiting; no byte is lost.
  virtual void cancel_read() = 0;
  /// Ends a write that is waiting.
  virtual void cancel_write() = 0;
  /// Gives the connection away as it is: neither closed nor shut down. -1 when it is closed already. Precondition:
  /// nothing waits.
  virtual int release() = 0;
  /// True when the client has closed its side or the connection broke, even with bytes unread. Never waits.
  virtual bool peer_gone() = 0;
  /// Both directions; what is waiting ends with an error. May be called twice.
  virtual void close() = 0;
  /// "192.0.2.7:5122", for logs.
  virtual std::string peer_name() const = 0;
};

std::unique_ptr<Stream> make_tcp_stream(boost::asio::ip::tcp::socket socket);

}  // namespace outlast::sql
