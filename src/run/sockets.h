#pragma once
#include <string>
#include <vector>

#include "base/result.h"

namespace outlast::run {

/// A socket that outlives the processes which serve it. Owned by its list (close_all).
struct Listener {
  std::string name;  ///< In LISTEN_FDNAMES.
  std::string url;   ///< As bound: port 0 is the real one here.
  int fd{-1};        ///< Close-on-exec; a process gets a copy.
  std::string path;  ///< Of a Unix socket that we made, to be removed in the end; else empty.
};

/// "[NAME=]tcp://HOST:PORT | udp://HOST:PORT | unix:///PATH"; HOST may be [::1] or empty for every IPv4 address.
/// A Unix socket that nobody listens on any more is replaced. kInvalidArgument, kUnavailable: a sentence with the
/// address.
Result<Listener> open_listener(const std::string& spec);

/// The sockets of a process manager: LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES (sd_listen_fds(3)), fds from 3. They are
/// made close-on-exec and moved out of the way, so that 3 is free again.
std::vector<Listener> take_inherited();

/// Connections that the kernel has completed and nobody has accepted, over all TCP listeners; -1 when there is none.
int queued_connections(const std::vector<Listener>& listeners);

void close_all(std::vector<Listener>& listeners);

}  // namespace outlast::run
