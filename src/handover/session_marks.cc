#include "handover/session_marks.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace outlast::handover {
namespace {
constexpr std::size_t kBytes = SessionMarks::kSlots * sizeof(std::atomic<SessionMark>);
static_assert(std::atomic<SessionMark>::is_always_lock_free, "the marks are shared between processes");

Result<void*> map(int fd) {
  void* const memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory != MAP_FAILED) return memory;
  return Error(Errc::kUnavailable, std::string("cannot map the shared marks of sessions: ") + std::strerror(errno));
}
}  // namespace

Result<std::unique_ptr<SessionMarks>> SessionMarks::create() {
  const int fd = memfd_create("outlast-session-marks", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, static_cast<off_t>(kBytes)) != 0) {
    Error error(Errc::kUnavailable, std::string("cannot make the shared marks of sessions: ") + std::strerror(errno));
    if (fd >= 0) close(fd);
    return error;
  }
  return open(fd);
}

Result<std::unique_ptr<SessionMarks>> SessionMarks::open(int fd) {
  struct stat is{};
  if (fstat(fd, &is) != 0 || is.st_size != static_cast<off_t>(kBytes)) {
    close(fd);
    return Error(Errc::kInvalidArgument, "the descriptor that came with the hello holds no marks of sessions");
  }
  auto memory = map(fd);
  if (!memory.ok()) {
    close(fd);
    return std::move(memory).error();
  }
  return std::unique_ptr<SessionMarks>(new SessionMarks(fd, static_cast<std::atomic<SessionMark>*>(*memory)));
}

SessionMarks::~SessionMarks() {
  munmap(marks_, kBytes);
  close(fd_);
}

}  // namespace outlast::handover
