#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/loop.h"
#include "base/result.h"

namespace outlast::ingest {

/// A descriptor that is closed at the end.
class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  ~Fd();
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept;
  int get() const { return fd_; }
  int release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }

 private:
  int fd_;
};

/// Something to wait for in poll() that any thread can make happen.
class Wake {
 public:
  Wake();
  int fd() const { return fd_.get(); }
  void signal();
  /// Forgets the signals until now.
  void clear();

 private:
  Fd fd_;
};

/// "udp://0.0.0.0:5140", "tcp://[::1]:5140", "http://127.0.0.1:8080", or host:port alone; port 0 lets the kernel
/// choose.
struct ListenAddress {
  std::string scheme, host;
  std::uint16_t port{0};
  static Result<ListenAddress> parse(std::string_view text);
};

/// Bound, for a stream listening too; non-blocking, closed on exec. The error says what to do.
Result<Fd> open_socket(const ListenAddress& address, bool datagrams);
/// For senders a bound socket is as if it was closed, whichever process holds it, too: they hear of it at once. What
/// has come lies there to be read; of connections, only what was accepted. Again: nothing.
Result<void> refuse_senders(int fd);
/// Takes refuse_senders() back; any other bound socket stays as it is.
Result<void> admit_senders(int fd);
/// The port that a bound socket has; 0 when it has none.
std::uint16_t bound_port(int fd);

/// What the kernel charges to a receive buffer for one datagram with `bytes` of payload: the packet's own memory too.
std::uint64_t datagram_cost(std::uint64_t bytes);
/// How large a receive buffer (as the kernel counts) must be, so that nobody need read for `pause`.
std::uint64_t receive_buffer_for(double datagrams_per_second, std::uint64_t datagram_bytes, Duration pause);
/// Grows it to `bytes` as the kernel counts. What it is now; `warning` is set when the kernel allows less, with the
/// sysctl to set.
std::uint64_t grow_receive_buffer(int fd, std::uint64_t bytes, std::string& warning);
/// Datagrams that the kernel has dropped on this socket since it was opened, as of now.
std::uint32_t kernel_drops(int fd);

/// CLOCK_BOOTTIME, and the wall clock in microseconds.
Instant boot_now();
std::int64_t wall_now_micros();

}  // namespace outlast::ingest
