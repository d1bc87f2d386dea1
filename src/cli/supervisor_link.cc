#include "cli/supervisor_link.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>

namespace outlast::cli {
namespace {
constexpr const char* kSocket = "supervisor.sock";

struct Folder {
  explicit Folder(const std::string& path) : fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {}
  ~Folder() {
    if (fd >= 0) ::close(fd);
  }
  const int fd;
};
}  // namespace

Result<SupervisorLink> SupervisorLink::connect(const std::string& store) {
  const auto failed = [&store](int error) {
    const std::string what = error == EACCES
                                 ? "this user may not ask the node at --store=" + store + ": run as the node's user"
                                 : "no node runs at --store=" + store + ": name the store of a node on this machine";
    return Error(Errc::kUnavailable, what + " (" + std::strerror(error) + ")");
  };
  const Folder folder(store);
  if (folder.fd < 0) return failed(errno);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  // A path of any length: the address holds 107 bytes only.
  const std::string path = "/proc/self/fd/" + std::to_string(folder.fd) + "/" + kSocket;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  SupervisorLink link(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (link.fd_ < 0 || ::connect(link.fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return failed(errno);
  return link;
}

SupervisorLink& SupervisorLink::operator=(SupervisorLink&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

SupervisorLink::~SupervisorLink() {
  if (fd_ >= 0) ::close(fd_);
}

Result<void> SupervisorLink::send(handover::ControlMessage::Kind kind, const std::string& text) {
  return handover::send_control(fd_, {.kind = kind, .node = {}, .incarnation = {}, .text = text});
}

Result<std::optional<handover::ControlMessage>> SupervisorLink::receive(Duration timeout) {
  pollfd readable{fd_, POLLIN, 0};
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(timeout).count();
  if (::poll(&readable, 1, static_cast<int>(ms)) <= 0) return std::optional<handover::ControlMessage>();
  auto message = handover::receive_control(fd_);
  if (message.ok() && *message && (*message)->fd >= 0) ::close((*message)->fd);
  return message;
}

}  // namespace outlast::cli
