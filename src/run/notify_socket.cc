#include "run/notify_socket.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <sstream>

namespace outlast::run {
namespace {
/// Reads the sender's pid and closes what came along: a BARRIER=1 waits for just that.
pid_t sender(msghdr& message) {
  pid_t pid = 0;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET) continue;
    if (c->cmsg_type == SCM_CREDENTIALS) {
      ucred credentials{};
      std::memcpy(&credentials, CMSG_DATA(c), sizeof credentials);
      pid = credentials.pid;
    } else if (c->cmsg_type == SCM_RIGHTS) {
      for (std::size_t i = 0; CMSG_LEN(i + sizeof(int)) <= c->cmsg_len; i += sizeof(int)) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(c) + i, sizeof fd);
        close(fd);
      }
    }
  }
  return pid;
}
}  // namespace

Notice parse_notice(const std::string& text) {
  Notice notice;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line == "READY=1") notice.ready = true;
    if (line == "RELOADING=1") notice.reloading = true;
    if (line == "STOPPING=1") notice.stopping = true;
    if (line.starts_with("STATUS=")) notice.status = line.substr(std::strlen("STATUS="));
  }
  return notice;
}

Result<NotifySocket> NotifySocket::open() {
  NotifySocket made;
  made.fd_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socklen_t size = sizeof address;
  const int on = 1;
  // A bind without a name makes the kernel choose an abstract one.
  if (made.fd_ < 0 || setsockopt(made.fd_, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 ||
      bind(made.fd_, reinterpret_cast<sockaddr*>(&address), sizeof(sa_family_t)) != 0 ||
      getsockname(made.fd_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return Error(Errc::kUnavailable, std::string("cannot make a NOTIFY_SOCKET: ") + std::strerror(errno));
  made.name_ = "@" + std::string(address.sun_path + 1, size - offsetof(sockaddr_un, sun_path) - 1);
  return made;
}

NotifySocket::~NotifySocket() {
  if (fd_ >= 0) close(fd_);
}

NotifySocket& NotifySocket::operator=(NotifySocket&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(name_, other.name_);
  return *this;
}

std::optional<Notice> NotifySocket::receive(const std::function<bool(pid_t)>& is_ours) {
  for (;;) {
    char text[4096];
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(64 * sizeof(int))];
    iovec part{text, sizeof text};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t n = recvmsg(fd_, &message, MSG_CMSG_CLOEXEC);
    if (n < 0) return std::nullopt;
    if (is_ours(sender(message))) return parse_notice(std::string(text, static_cast<std::size_t>(n)));
  }
}

}  // namespace outlast::run
