#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "handover/notify.h"
#include "handover/sockets.h"

namespace outlast::handover {
namespace {
constexpr int kFirstInherited = 3;  // SD_LISTEN_FDS_START
constexpr std::string_view kKeptSql = "kept-sql", kKeptHttp = "kept-http";

int number_of(const char* name) {
  const char* const text = std::getenv(name);
  int value = 0;
  if (text != nullptr) std::from_chars(text, text + std::strlen(text), value);
  return value;
}

bool listens(int fd) {
  int yes = 0;
  socklen_t size = sizeof yes;
  return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &yes, &size) == 0 && yes != 0;
}

void take(int& place, int fd) {
  if (place < 0)
    place = fd;
  else
    close(fd);
}

/// Takes a kept socket when nobody gave another and it is where it should be.
void take_kept(int& place, int fd, const std::string& wanted) {
  const bool any_port = wanted.ends_with(":0");
  if (fd >= 0 && (any_port || address_of(fd) == wanted))
    take(place, fd);
  else if (fd >= 0)
    close(fd);
}
}  // namespace

Listeners inherited_listeners(const std::string& sql_addr, const std::string& http_addr) {
  Listeners given, kept;
  const bool for_us = number_of("LISTEN_PID") == getpid();
  const int count = for_us ? number_of("LISTEN_FDS") : 0;
  const char* const names_text = std::getenv("LISTEN_FDNAMES");
  std::string names = names_text == nullptr ? "" : names_text;
  for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) unsetenv(name);
  for (int fd = kFirstInherited; fd < kFirstInherited + count; ++fd) {
    const std::string name = names.substr(0, names.find(':'));
    names.erase(0, name.size() + 1);
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) continue;
    if (!listens(fd)) {
      spdlog::warn("supervisor: descriptor {} ({}) from the process manager is no listening socket", fd, name);
      close(fd);
    } else if (name == kKeptSql || name == kKeptHttp) {
      take(name == kKeptSql ? kept.sql : kept.http, fd);
    } else if (name == "sql" || name == "http") {
      take(name == "sql" ? given.sql : given.http, fd);
    } else {
      take(given.sql < 0 && !sql_addr.empty() ? given.sql : given.http, fd);
    }
  }
  take_kept(given.sql, kept.sql, sql_addr);
  take_kept(given.http, kept.http, http_addr);
  return given;
}

void keep_listeners(const Listeners& listeners) {
  for (const auto& [name, fd] : {std::pair(kKeptSql, listeners.sql), std::pair(kKeptHttp, listeners.http)}) {
    if (fd < 0) continue;
    const std::string state = "FDSTORE=1\nFDNAME=" + std::string(name);
    if (auto told = notify_manager(state, fd); !told.ok()) spdlog::warn("supervisor: {}", told.error().message);
  }
}

}  // namespace outlast::handover
