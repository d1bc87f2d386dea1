#include "handover/notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "handover/fd_passing.h"

namespace outlast::handover {

Result<void> notify_manager(const std::string& state, int passed) {
  const char* const path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || *path == 0) return {};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t length = std::strlen(path);
  if (length >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@'))
    return Error(Errc::kUnavailable, std::string("NOTIFY_SOCKET names no socket: ") + path);
  std::memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = 0;  // an abstract name
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  const bool sent = fd >= 0 && connect(fd, reinterpret_cast<const sockaddr*>(&address), size) == 0 &&
                    send_with_fd(fd, state, passed) >= 0;
  const int why = errno;
  if (fd >= 0) close(fd);
  if (sent) return {};
  return Error(Errc::kUnavailable, std::string("the process manager does not take a message: ") + std::strerror(why));
}

}  // namespace outlast::handover
