#include "run/sockets.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/parse.h"

namespace outlast::run {
namespace {
constexpr int kFirstPassed = 3, kBacklog = 4096;

Error cannot(const std::string& url) {
  return {Errc::kUnavailable, "cannot listen on " + url + ": " + std::strerror(errno)};
}

Error malformed(const std::string& spec) {
  return {Errc::kInvalidArgument,
          "'" + spec +
              "' is no socket: write tcp://HOST:PORT, udp://HOST:PORT or unix:///PATH, with NAME= before it if wanted"};
}

std::string inet_url(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  int type = 0;
  socklen_t type_size = sizeof type;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size);
  if (address.ss_family == AF_UNIX) {
    const auto& local = reinterpret_cast<const sockaddr_un&>(address);
    return std::string("unix://") + (local.sun_path[0] == 0 ? "@" : local.sun_path);
  }
  char host[NI_MAXHOST] = "", port[NI_MAXSERV] = "";
  getnameinfo(reinterpret_cast<sockaddr*>(&address), size, host, sizeof host, port, sizeof port,
              NI_NUMERICHOST | NI_NUMERICSERV);
  const std::string shown = address.ss_family == AF_INET6 ? "[" + std::string(host) + "]" : host;
  return std::string(type == SOCK_DGRAM ? "udp://" : "tcp://") + shown + ":" + port;
}

Result<int> bind_inet(const std::string& url, int type, const std::string& address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos) return malformed(url);
  std::string host = address.substr(0, colon);
  addrinfo hints{}, *found = nullptr;
  hints.ai_family = AF_INET;
  if (host.starts_with('[') && host.ends_with(']')) {
    hints.ai_family = AF_INET6;
    host = host.substr(1, host.size() - 2);
  }
  hints.ai_socktype = type;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  const std::string port = address.substr(colon + 1);
  if (const int rc = getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &hints, &found); rc != 0)
    return Error(Errc::kInvalidArgument, "cannot use the address " + url + ": " + gai_strerror(rc));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> list(found, freeaddrinfo);
  const int fd = socket(list->ai_family, type | SOCK_CLOEXEC, 0), on = 1;
  if (fd < 0) return cannot(url);
  if (list->ai_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if ((type == SOCK_STREAM && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) ||
      bind(fd, list->ai_addr, list->ai_addrlen) != 0 || (type == SOCK_STREAM && listen(fd, kBacklog) != 0)) {
    Error error = cannot(url);
    close(fd);
    return error;
  }
  return fd;
}

/// A socket file whose listener is gone refuses connections: it may be replaced.
bool is_stale(const sockaddr_un& address) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int rc = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const bool stale = rc != 0 && errno == ECONNREFUSED;
  close(fd);
  return stale;
}

Result<int> bind_unix(const std::string& url, const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (!path.starts_with('/') || path.size() >= sizeof address.sun_path)
    return Error(Errc::kInvalidArgument, "'" + url + "' needs an absolute path of at most " +
                                             std::to_string(sizeof address.sun_path - 1) + " characters");
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto try_bind = [&] { return bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address); };
  int rc = try_bind();
  if (rc != 0 && errno == EADDRINUSE && is_stale(address)) {
    unlink(path.c_str());
    rc = try_bind();
  } else if (rc != 0) {
    errno = EADDRINUSE;
  }
  if (rc == 0 && listen(fd, kBacklog) == 0) return fd;
  Error error = cannot(url);
  close(fd);
  return error;
}

Result<Listener> with_fd(Listener listener, Result<int> fd) {
  if (!fd.ok()) return std::move(fd).error();
  listener.fd = *fd;
  listener.url = inet_url(*fd);
  return listener;
}
}  // namespace

Result<Listener> open_listener(const std::string& spec) {
  std::string url = spec;
  Listener listener;
  const std::size_t slashes = spec.find("://"), equals = spec.find('=');
  if (slashes == std::string::npos) return malformed(spec);
  if (equals < slashes) {
    listener.name = spec.substr(0, equals);
    url = spec.substr(equals + 1);
    if (listener.name.empty() || listener.name.find(':') != std::string::npos)
      return Error(Errc::kInvalidArgument, "'" + spec + "': a name is not empty and has no colon");
  }
  const std::string scheme = url.substr(0, url.find("://")), address = url.substr(url.find("://") + 3);
  if (listener.name.empty()) listener.name = scheme;
  if (scheme == "tcp") return with_fd(listener, bind_inet(url, SOCK_STREAM, address));
  if (scheme == "udp") return with_fd(listener, bind_inet(url, SOCK_DGRAM, address));
  if (scheme != "unix") return malformed(spec);
  listener.path = address;
  return with_fd(listener, bind_unix(url, address));
}

std::vector<Listener> take_inherited() {
  std::vector<Listener> taken;
  const char* const pid = std::getenv("LISTEN_PID");
  const char* const count = std::getenv("LISTEN_FDS");
  if (pid == nullptr || count == nullptr || pid != std::to_string(getpid())) return taken;
  const auto n = parse_int(count);
  std::string names = std::getenv("LISTEN_FDNAMES") == nullptr ? "" : std::getenv("LISTEN_FDNAMES");
  for (int i = 0; n.ok() && i < *n; ++i) {
    Listener one;
    one.name = names.substr(0, names.find(':'));
    names = names.find(':') == std::string::npos ? "" : names.substr(names.find(':') + 1);
    if (one.name.empty()) one.name = "unknown";
    one.fd = fcntl(kFirstPassed + i, F_DUPFD_CLOEXEC, kFirstPassed + static_cast<int>(*n));
    close(kFirstPassed + i);
    if (one.fd < 0) continue;
    one.url = inet_url(one.fd);
    taken.push_back(one);
  }
  return taken;
}

int queued_connections(const std::vector<Listener>& listeners) {
  int total = -1;
  for (const Listener& one : listeners) {
    tcp_info info{};
    socklen_t size = sizeof info;
    if (getsockopt(one.fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 || info.tcpi_state != TCP_LISTEN) continue;
    total = std::max(total, 0) + static_cast<int>(info.tcpi_unacked);  // of a listener: its accept queue
  }
  return total;
}

void close_all(std::vector<Listener>& listeners) {
  for (const Listener& one : listeners) {
    close(one.fd);
    if (!one.path.empty()) unlink(one.path.c_str());
  }
  listeners.clear();
}

}  // namespace outlast::run
