#include "handover/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace outlast::handover {

Result<void> replace_file(const std::string& path, std::string_view text) {
  const std::string fresh = path + ".new";
  const int fd = open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  const bool written =
      fd >= 0 && write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && fsync(fd) == 0;
  const bool done = written && std::rename(fresh.c_str(), path.c_str()) == 0;
  const int why = errno;
  if (fd >= 0) close(fd);
  if (done) return {};
  return Error(Errc::kIo, "cannot write " + path + ": " + std::strerror(why));
}

}  // namespace outlast::handover
