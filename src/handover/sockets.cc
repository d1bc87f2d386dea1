#include "handover/sockets.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace outlast::handover {
namespace {
constexpr int kBacklog = 4096;

Error system_error(const std::string& what) {
  return {Errc::kUnavailable, what + ": " + std::strerror(errno)};
}

/// The address by way of an open folder, for paths that sockaddr_un cannot hold.
class UnixAddress {
 public:
  UnixAddress(const std::string& folder, const std::string& name)
      : folder_(open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {
    address_.sun_family = AF_UNIX;
    const std::string path = "/proc/self/fd/" + std::to_string(folder_) + "/" + name;
    std::memcpy(address_.sun_path, path.data(), std::min(path.size(), sizeof address_.sun_path - 1));
  }
  ~UnixAddress() {
    if (folder_ >= 0) close(folder_);
  }
  UnixAddress(const UnixAddress&) = delete;
  UnixAddress& operator=(const UnixAddress&) = delete;
  int folder() const { return folder_; }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address_); }
  static constexpr socklen_t kSize = sizeof(sockaddr_un);

 private:
  const int folder_;
  sockaddr_un address_{};
};

int seqpacket() {
  return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}
}  // namespace

Result<int> listen_on(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos)
    return Error(Errc::kInvalidArgument, "'" + address + "' is not host:port, as in 127.0.0.1:26257");
  addrinfo hints{}, *found = nullptr;
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  const std::string host = address.substr(0, colon);
  if (const int rc =
          getaddrinfo(host.empty() ? nullptr : host.c_str(), address.substr(colon + 1).c_str(), &hints, &found);
      rc != 0)
    return Error(Errc::kInvalidArgument, "cannot use the address " + address + ": " + gai_strerror(rc));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> list(found, freeaddrinfo);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      bind(fd, list->ai_addr, list->ai_addrlen) != 0 || listen(fd, kBacklog) != 0) {
    Error error = system_error("cannot listen on " + address);
    if (fd >= 0) close(fd);
    return error;
  }
  return fd;
}

std::string address_of(int fd) {
  sockaddr_in in{};
  socklen_t size = sizeof in;
  char host[INET_ADDRSTRLEN] = "";
  getsockname(fd, reinterpret_cast<sockaddr*>(&in), &size);
  inet_ntop(AF_INET, &in.sin_addr, host, sizeof host);
  return std::string(host) + ":" + std::to_string(ntohs(in.sin_port));
}

Result<int> listen_in(const std::string& folder, const std::string& name) {
  const UnixAddress address(folder, name);
  const int fd = seqpacket();
  // The mode is set before anybody can connect; a stale socket is the previous supervisor's.
  if (fd >= 0 && address.folder() >= 0 && (unlinkat(address.folder(), name.c_str(), 0) == 0 || errno == ENOENT) &&
      fchmod(fd, 0600) == 0 && bind(fd, address.get(), UnixAddress::kSize) == 0 && listen(fd, SOMAXCONN) == 0)
    return fd;
  Error error = system_error("cannot listen on " + folder + "/" + name);
  if (fd >= 0) close(fd);
  return error;
}

Result<int> connect_in(const std::string& folder, const std::string& name) {
  const UnixAddress address(folder, name);
  const int fd = seqpacket();
  if (fd >= 0 && address.folder() >= 0 && connect(fd, address.get(), UnixAddress::kSize) == 0) return fd;
  Error error = system_error("nobody answers at " + folder + "/" + name);
  if (fd >= 0) close(fd);
  return error;
}

std::vector<int> Listeners::all() const {
  std::vector<int> fds = {sql, http};
  for (const auto& [name, fd] : inputs) fds.push_back(fd);
  std::erase(fds, -1);
  return fds;
}

void close_all(const Listeners& listeners) {
  for (const int fd : listeners.all()) close(fd);
}

void close_gone(const Listeners& former, const Listeners& present) {
  for (const auto& [name, fd] : former.inputs)
    if (!present.inputs.contains(name)) close(fd);
}

}  // namespace outlast::handover
