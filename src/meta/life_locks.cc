#include "meta/life_locks.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace outlast::meta {
namespace {
// Open-file-description locks: F_OFD_SETLK 37 and F_OFD_GETLK 36 since Linux 3.15; glibc shows them with _GNU_SOURCE.
struct flock whole_file() {
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}
Error io_error(const std::filesystem::path& path) {
  return Error(Errc::kIo, path.string() + ": " + std::strerror(errno) + "; check the metadata directory");
}
}  // namespace

Result<std::unique_ptr<LifeLocks>> LifeLocks::open(const std::filesystem::path& dir) {
  std::filesystem::path live = dir / "live";
  if (::mkdir(live.c_str(), 0750) != 0 && errno != EEXIST) return io_error(live);
  return std::unique_ptr<LifeLocks>(new LifeLocks(std::move(live)));
}

LifeLocks::~LifeLocks() {
  for (const auto& [peer, fd] : held_) ::close(fd);
  for (const auto& [peer, fd] : watched_) ::close(fd);
}

std::filesystem::path LifeLocks::file_of(liveness::Peer peer) const {
  return dir_ / (peer.node.to_string() + "." + peer.incarnation.to_string());
}

Result<void> LifeLocks::hold(liveness::Peer self) {
  const auto path = file_of(self);
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
  if (fd < 0) return io_error(path);
  struct flock lock = whole_file();
  if (::fcntl(fd, F_OFD_SETLK, &lock) == 0) {
    held_.emplace(self, fd);
    return {};
  }
  const bool taken = errno == EAGAIN || errno == EACCES;
  Error error = taken ? Error(Errc::kStoreLocked, "another process runs as incarnation " + self.to_string() +
                                                      "; stop it or start this one anew")
                      : io_error(path);
  ::close(fd);
  return error;
}

bool LifeLocks::is_gone(liveness::Peer peer) {
  if (held_.contains(peer)) return false;
  auto it = watched_.find(peer);
  if (it == watched_.end()) {
    // No file: a process on another machine or without locks. Its silence has to speak for it.
    const int fd = ::open(file_of(peer).c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) return false;
    it = watched_.emplace(peer, fd).first;
  }
  struct flock lock = whole_file();
  return ::fcntl(it->second, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_UNLCK;
}

void LifeLocks::forget(liveness::Peer peer) {
  if (held_.contains(peer)) return;
  if (const auto it = watched_.find(peer); it != watched_.end()) {
    ::close(it->second);
    watched_.erase(it);
  }
  ::unlink(file_of(peer).c_str());
}

}  // namespace outlast::meta
