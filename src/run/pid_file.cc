#include "run/pid_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace outlast::run {

Result<PidFile> PidFile::take(const std::string& path) {
  PidFile file;
  if (path.empty()) return file;
  file.fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file.fd_ < 0) return Error(Errc::kIo, "cannot write the pid file " + path + ": " + std::strerror(errno));
  if (flock(file.fd_, LOCK_EX | LOCK_NB) != 0)
    return Error(Errc::kStoreLocked, "the pid file " + path + " is held by another `outlast run`: choose another one");
  const std::string pid = std::to_string(getpid()) + "\n";
  if (ftruncate(file.fd_, 0) != 0 || pwrite(file.fd_, pid.data(), pid.size(), 0) < 0)
    return Error(Errc::kIo, "cannot write the pid file " + path + ": " + std::strerror(errno));
  file.path_ = path;
  return file;
}

PidFile::~PidFile() {
  if (!path_.empty()) unlink(path_.c_str());
  if (fd_ >= 0) close(fd_);
}

Result<int> holder_of(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return Error(Errc::kNotFound, "cannot read the pid file " + path + ": " + std::strerror(errno));
  char text[32] = "";
  const bool held = flock(fd, LOCK_SH | LOCK_NB) != 0;
  const ssize_t n = pread(fd, text, sizeof text - 1, 0);
  close(fd);
  const int pid = n > 0 ? std::atoi(text) : 0;
  if (held && pid > 0) return pid;
  return Error(Errc::kNotFound, "no `outlast run` holds the pid file " + path + ": start it with --pid-file=" + path);
}

}  // namespace outlast::run
