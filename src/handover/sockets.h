#pragma once
#include <map>
#include <string>
#include <vector>

#include "base/result.h"

namespace outlast::handover {

/// Binds and listens on "host:port" (port 0 = any); close-on-exec. kUnavailable names the address.
Result<int> listen_on(const std::string& address);
/// "127.0.0.1:26257" of a bound socket.
std::string address_of(int fd);

/// A SOCK_SEQPACKET socket `folder`/`name` that only this user can use, however long the path is; replaces what is
/// there. Non-blocking, close-on-exec.
Result<int> listen_in(const std::string& folder, const std::string& name);
/// kUnavailable when nobody listens there. Non-blocking, close-on-exec.
Result<int> connect_in(const std::string& folder, const std::string& name);

/// The client-facing sockets of a node; -1: none. A plain value: whoever holds it last closes them, with close_all().
struct Listeners {
  int sql{-1}, http{-1};
  std::map<std::string, int> inputs;  ///< By the address as it is configured, "udp://0.0.0.0:5140".
  std::vector<int> all() const;
};
void close_all(const Listeners& listeners);
/// Closes the inputs of `former` that `present` does not have.
void close_gone(const Listeners& former, const Listeners& present);
/// What a process manager passes (LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES): named `sql` and `http`, or the first and the
/// second; and those that it kept for us (keep_listeners) while they still are at the wanted addresses. No `sql_addr`:
/// the first is HTTP's. Takes the
/// variables out of the environment; call it before any thread exists. Source: sd_listen_fds(3).
Listeners inherited_listeners(const std::string& sql_addr, const std::string& http_addr);
/// Gives the process manager copies, if there is one: they outlive a supervisor that is killed. Source: sd_notify(3),
/// FDSTORE.
void keep_listeners(const Listeners& listeners);

}  // namespace outlast::handover
