#pragma once
#include <sys/types.h>

#include <cstdint>

namespace outlast::run {

/// Who holds the other end of a connection within this machine.
enum class Owner : std::uint8_t {
  kNobodyYet,  ///< It waits in the accept queue, or is not of this machine.
  kOurs,       ///< A process of the group.
  kOther,
};

/// A process of the group waits for connections of this listening socket in an epoll set: it has got as far as that.
bool watches(pid_t group, int listening_fd);

/// Looks in /proc for the accepting end of the connected TCP socket `fd`.
Owner owner_of_other_end(int fd, pid_t group);

}  // namespace outlast::run
