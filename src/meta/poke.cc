#include "meta/poke.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace outlast::meta {
namespace {

Error io_error(const std::string& what) {
  return Error(Errc::kIo, what + ": " + std::strerror(errno) + "; check the metadata directory and its permissions");
}

/// Socket paths end at 107 bytes, directories do not: address the socket through the directory's descriptor.
sockaddr_un address_in(int dir_fd, const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", dir_fd, name.c_str());
  return address;
}

bool is_poke_socket(const std::string& name) {
  return name.starts_with("watch.") && name.ends_with(".sock");
}

}  // namespace

Result<std::unique_ptr<PokeSocket>> PokeSocket::open(const std::filesystem::path& dir) {
  const int dir_fd = ::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir_fd < 0) return io_error("opening " + dir.string());
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  std::unique_ptr<PokeSocket> socket(new PokeSocket(dir_fd, fd, {}));
  if (fd < 0) return io_error("making a datagram socket");
  std::uint64_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number) return io_error("drawing a random number");
  char name[40];
  std::snprintf(name, sizeof name, "watch.%016llx.sock", static_cast<unsigned long long>(number));
  const sockaddr_un address = address_in(dir_fd, name);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return io_error("binding " + (dir / name).string());
  socket->name_ = name;
  return socket;
}

PokeSocket::~PokeSocket() {
  if (!name_.empty()) ::unlinkat(dir_fd_, name_.c_str(), 0);
  if (fd_ >= 0) ::close(fd_);
  ::close(dir_fd_);
}

void PokeSocket::poke_others() {
  // A descriptor of its own: readdir moves the position of the one it is given.
  const int fd = ::openat(dir_fd_, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* dir = fd < 0 ? nullptr : ::fdopendir(fd);
  if (dir == nullptr) {
    if (fd >= 0) ::close(fd);
    return;
  }
  while (const dirent* entry = ::readdir(dir)) {
    const std::string name = entry->d_name;
    if (!is_poke_socket(name) || name == name_) continue;
    const sockaddr_un address = address_in(dir_fd_, name);
    const char byte = 'w';
    const auto sent = ::sendto(fd_, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address),
                               sizeof address);
    // A full queue (EAGAIN) already holds the news. Nobody behind the name: its process is gone.
    if (sent < 0 && errno == ECONNREFUSED) ::unlinkat(dir_fd_, name.c_str(), 0);
  }
  ::closedir(dir);
}

bool PokeSocket::drain() {
  bool poked = false;
  char bytes[16];
  while (::recv(fd_, bytes, sizeof bytes, MSG_DONTWAIT) > 0) poked = true;
  return poked;
}

}  // namespace outlast::meta
