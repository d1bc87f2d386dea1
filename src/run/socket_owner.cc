#include "run/socket_owner.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace outlast::run {
namespace {
namespace fs = std::filesystem;

int port_of(int fd, int (*name)(int, sockaddr*, socklen_t*)) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  name(fd, reinterpret_cast<sockaddr*>(&address), &size);
  // sin_port and sin6_port lie at the same place.
  return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

/// ":1F90 ", as the table ends an address.
std::string hex_port(int port) {
  char text[8];
  std::snprintf(text, sizeof text, ":%04X ", static_cast<unsigned>(port));
  return text;
}

/// The inode of the socket with these ports; empty while it waits in an accept queue. Tables can be long, so that a
/// line is read closely only when it is the one.
std::string inode_of(const char* table, int local, int remote) {
  std::ifstream in(table);
  const std::string here = hex_port(local), there = hex_port(remote);
  for (std::string line; std::getline(in, line);) {
    const std::size_t first = line.find(here),
                      second = first == std::string::npos ? first : line.find(there, first + 1);
    if (second == std::string::npos) continue;
    std::istringstream rest(line.substr(second + there.size()));
    std::string state, queues, timer, retransmits, uid, timeout, inode;
    rest >> state >> queues >> timer >> retransmits >> uid >> timeout >> inode;
    if (inode != "0") return inode;
  }
  return {};
}

bool holds(const fs::path& process, const std::string& socket) {
  std::error_code error;
  for (fs::directory_iterator at(process / "fd", error), end; !error && at != end; at.increment(error)) {
    std::error_code gone;
    if (fs::read_symlink(at->path(), gone) == socket) return true;
  }
  return false;
}

/// Is the file with this inode in one of the process's epoll sets? proc(5), /proc/PID/fdinfo.
bool waits_for(const fs::path& process, std::uint64_t inode) {
  std::ostringstream wanted;
  wanted << " ino:" << std::hex << inode << " ";
  std::error_code error;
  for (fs::directory_iterator at(process / "fd", error), end; !error && at != end; at.increment(error)) {
    std::error_code gone;
    if (fs::read_symlink(at->path(), gone) != "anon_inode:[eventpoll]") continue;
    std::ifstream in(process / "fdinfo" / at->path().filename());
    for (std::string line; std::getline(in, line);)
      if ((line + " ").find(wanted.str()) != std::string::npos) return true;
  }
  return false;
}

template <class Look>
bool any_process_of(pid_t group, Look look) {
  std::error_code error;
  for (fs::directory_iterator at("/proc", error), end; !error && at != end; at.increment(error)) {
    const pid_t pid = static_cast<pid_t>(std::strtol(at->path().filename().c_str(), nullptr, 10));
    if (pid > 0 && getpgid(pid) == group && look(at->path())) return true;
  }
  return false;
}
}  // namespace

bool watches(pid_t group, int listening_fd) {
  struct stat is{};
  if (fstat(listening_fd, &is) != 0) return false;
  return any_process_of(group, [&](const fs::path& process) { return waits_for(process, is.st_ino); });
}

Owner owner_of_other_end(int fd, pid_t group) {
  const int mine = port_of(fd, getsockname), its = port_of(fd, getpeername);
  std::string inode = inode_of("/proc/self/net/tcp", its, mine);
  if (inode.empty()) inode = inode_of("/proc/self/net/tcp6", its, mine);
  if (inode.empty()) return Owner::kNobodyYet;
  const std::string socket = "socket:[" + inode + "]";
  if (any_process_of(group, [&](const fs::path& process) { return holds(process, socket); })) return Owner::kOurs;
  return Owner::kOther;
}

}  // namespace outlast::run
