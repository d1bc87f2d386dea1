#include "run/socket_owner.h"

#include <netinet/in.h>
#include <sys/socket.h>
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
}  // namespace

Owner owner_of_other_end(int fd, pid_t group) {
  const int mine = port_of(fd, getsockname), its = port_of(fd, getpeername);
  std::string inode = inode_of("/proc/self/net/tcp", its, mine);
  if (inode.empty()) inode = inode_of("/proc/self/net/tcp6", its, mine);
  if (inode.empty()) return Owner::kNobodyYet;
  const std::string socket = "socket:[" + inode + "]";
  std::error_code error;
  for (fs::directory_iterator at("/proc", error), end; !error && at != end; at.increment(error)) {
    const pid_t pid = static_cast<pid_t>(std::strtol(at->path().filename().c_str(), nullptr, 10));
    if (pid > 0 && getpgid(pid) == group && holds(at->path(), socket)) return Owner::kOurs;
  }
  return Owner::kOther;
}

}  // namespace outlast::run
