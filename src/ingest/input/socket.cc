#include "ingest/input/socket.h"

#include <fcntl.h>
#include <linux/sock_diag.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <memory>

#include "base/parse.h"

namespace outlast::ingest {
namespace {
constexpr std::uint64_t kPacketHead = 256;   // struct sk_buff
constexpr std::uint64_t kPacketFrame = 448;  // headers, headroom and struct skb_shared_info next to the payload
constexpr std::uint64_t kPacketDataMin = 1024;
constexpr int kBacklog = 4096;

Error socket_error(const ListenAddress& address, const char* what) {
  const int reason = errno;
  std::string text = std::string("cannot ") + what + " " + address.host + ":" + std::to_string(address.port) + ": " +
                     std::strerror(reason);
  if (reason == EADDRINUSE) text += "; another program has this port, or another input of this one";
  if (reason == EACCES) text += "; ports below 1024 need root or CAP_NET_BIND_SERVICE";
  if (reason == EADDRNOTAVAIL) text += "; this machine has no such address";
  return Error(reason == EACCES ? Errc::kInvalidArgument : Errc::kUnavailable, std::move(text));
}

std::uint64_t receive_buffer(int fd) {
  int bytes = 0;
  socklen_t size = sizeof bytes;
  getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, &size);
  return static_cast<std::uint64_t>(bytes);
}
}  // namespace

Fd::~Fd() {
  if (fd_ >= 0) close(fd_);
}

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this == &other) return *this;
  if (fd_ >= 0) close(fd_);
  fd_ = other.release();
  return *this;
}

Wake::Wake() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  OUTLAST_ASSERT(fd_.get() >= 0, "no eventfd: the limit of open files is reached");
}
void Wake::signal() {
  const std::uint64_t one = 1;
  (void)!write(fd_.get(), &one, sizeof one);
}
void Wake::clear() {
  std::uint64_t count = 0;
  (void)!read(fd_.get(), &count, sizeof count);
}

Result<ListenAddress> ListenAddress::parse(std::string_view text) {
  ListenAddress out;
  std::string_view rest = text;
  if (const std::size_t at = rest.find("://"); at != std::string_view::npos) {
    out.scheme = rest.substr(0, at);
    rest.remove_prefix(at + 3);
  }
  const std::size_t colon = rest.rfind(':');
  const auto port = parse_int(colon == std::string_view::npos ? "" : rest.substr(colon + 1));
  if (!port.ok() || *port < 0 || *port > 65535)
    return Error(Errc::kInvalidArgument,
                 "\"" + std::string(text) + "\" is no address to listen on; write one such as udp://0.0.0.0:5140");
  out.host = rest.substr(0, colon);
  if (out.host.starts_with('[') && out.host.ends_with(']')) out.host = out.host.substr(1, out.host.size() - 2);
  if (out.host.empty() || out.host == "*") out.host = "::";
  out.port = static_cast<std::uint16_t>(*port);
  return out;
}

namespace {
Result<Fd> bind_socket(const ListenAddress& address, bool datagrams) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_socktype = datagrams ? SOCK_DGRAM : SOCK_STREAM;
  const int rc = getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (rc != 0)
    return Error(Errc::kInvalidArgument, "cannot listen on \"" + address.host + "\": " + gai_strerror(rc) +
                                             "; write an address of this machine, such as 0.0.0.0");
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> list(found, freeaddrinfo);
  Fd fd(socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd.get() < 0) return socket_error(address, "open a socket for");
  const int on = 1, off = 0;
  if (!datagrams) setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (found->ai_family == AF_INET6) setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  if (bind(fd.get(), found->ai_addr, found->ai_addrlen) != 0) return socket_error(address, "listen on");
  return fd;
}

/// The kernel takes a port of its own choice away from a socket that refuses senders, one that was named it does not.
Result<Fd> bind_to_some_port(ListenAddress address, bool datagrams) {
  constexpr int kTries = 20;
  for (int i = 1;; ++i) {
    address.port = 0;
    {
      ASSIGN_OR_RETURN(const Fd chosen, bind_socket(address, datagrams));
      address.port = bound_port(chosen.get());
    }
    auto bound = bind_socket(address, datagrams);
    if (bound.ok() || i == kTries) return bound;
  }
}

bool takes_datagrams(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_DGRAM;
}

Error door_error(const char* what) {
  return {Errc::kUnavailable, std::string(what) + ": " + std::strerror(errno)};
}

/// Where a socket can be reached from this machine.
sockaddr_storage own_address(int fd, socklen_t& size) {
  sockaddr_storage address{};
  size = sizeof address;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  if (auto& v4 = reinterpret_cast<sockaddr_in&>(address); address.ss_family == AF_INET && v4.sin_addr.s_addr == 0)
    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (auto& v6 = reinterpret_cast<sockaddr_in6&>(address);
      address.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&v6.sin6_addr))
    v6.sin6_addr = in6addr_loopback;
  return address;
}
}  // namespace

Result<Fd> open_socket(const ListenAddress& address, bool datagrams) {
  ASSIGN_OR_RETURN(Fd fd, address.port == 0 ? bind_to_some_port(address, datagrams) : bind_socket(address, datagrams));
  if (!datagrams && listen(fd.get(), kBacklog) != 0) return socket_error(address, "listen on");
  return fd;
}

// A datagram socket that is connected gets nothing from others, and the kernel tells them so.
Result<void> refuse_senders(int fd) {
  if (!takes_datagrams(fd)) {
    if (shutdown(fd, SHUT_RDWR) == 0 || errno == ENOTCONN) return {};
    return door_error("the socket goes on listening");
  }
  socklen_t size = 0;
  const sockaddr_storage itself = own_address(fd, size);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&itself), size) == 0) return {};
  return door_error("the socket goes on taking datagrams");
}

Result<void> admit_senders(int fd) {
  if (!takes_datagrams(fd)) {
    if (listen(fd, kBacklog) == 0) return {};
    return door_error("the socket does not listen any more");
  }
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0) return {};  // it does
  const sockaddr nobody{.sa_family = AF_UNSPEC, .sa_data = {}};
  if (connect(fd, &nobody, sizeof nobody) == 0) return {};
  return door_error("the socket does not take datagrams any more");
}

std::uint16_t bound_port(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  if (address.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
}

std::uint64_t datagram_cost(std::uint64_t bytes) {
  return kPacketHead + std::bit_ceil(std::max(bytes + kPacketFrame, kPacketDataMin));
}

std::uint64_t receive_buffer_for(double datagrams_per_second, std::uint64_t datagram_bytes, Duration pause) {
  const double datagrams = datagrams_per_second * std::chrono::duration<double>(pause).count();
  return static_cast<std::uint64_t>(std::max(datagrams, 1.0) * static_cast<double>(datagram_cost(datagram_bytes)));
}

// The kernel doubles what is asked for, to pay for the packets' own memory, and reports the double.
std::uint64_t grow_receive_buffer(int fd, std::uint64_t bytes, std::string& warning) {
  const std::uint64_t before = receive_buffer(fd);
  if (before >= bytes) return before;
  const int half = static_cast<int>(std::min<std::uint64_t>((bytes + 1) / 2, 1U << 30));
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &half, sizeof half) == 0) return receive_buffer(fd);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &half, sizeof half);
  const std::uint64_t now = receive_buffer(fd);
  if (now < static_cast<std::uint64_t>(half) * 2)
    warning = "the kernel allows a receive buffer of " + format_bytes(now) +
              " only, and datagrams that come faster than " + "they can be read need " + format_bytes(bytes) +
              ": run `sysctl -w net.core.rmem_max=" + std::to_string(half) +
              "` and start again, or give the program CAP_NET_ADMIN";
  return now;
}

std::uint32_t kernel_drops(int fd) {
  std::uint32_t info[SK_MEMINFO_VARS] = {};
  socklen_t size = sizeof info;
  if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &size) != 0) return 0;
  return info[SK_MEMINFO_DROPS];
}

Instant boot_now() {
  timespec time{};
  clock_gettime(CLOCK_BOOTTIME, &time);
  return Instant(std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec));
}

std::int64_t wall_now_micros() {
  timespec time{};
  clock_gettime(CLOCK_REALTIME, &time);
  return time.tv_sec * 1'000'000 + time.tv_nsec / 1000;
}

}  // namespace outlast::ingest
