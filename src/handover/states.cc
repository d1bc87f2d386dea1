#include "handover/states.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <sstream>
#include <string>

namespace outlast::handover {

std::string_view to_string(HandoverState state) {
  switch (state) {
    case HandoverState::kIdle:
      return "idle";
    case HandoverState::kTrial:
      return "trial";
    case HandoverState::kStandby:
      return "standby";
    case HandoverState::kSessions:
      return "sessions";
    case HandoverState::kStorageReleased:
      return "storage_released";
    case HandoverState::kOwned:
      return "owned";
    case HandoverState::kDone:
      return "done";
  }
  return "unknown";
}

void hold_point(std::string_view role, HandoverState state) {
  const char* const wanted = std::getenv("OUTLAST_HANDOVER_HOLD");
  if (wanted == nullptr) return;
  const std::string here = std::string(role) + ":" + std::string(to_string(state)) + ":";
  std::istringstream points(wanted);
  for (std::string point; std::getline(points, point, ',');) {
    if (!point.starts_with(here)) continue;
    const int fd = open(point.substr(here.size()).c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    char byte = 0;
    while (read(fd, &byte, 1) > 0 || errno == EINTR) errno = 0;
    close(fd);
    return;
  }
}

}  // namespace outlast::handover
