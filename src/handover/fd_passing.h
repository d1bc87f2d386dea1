#pragma once
#include <sys/types.h>

#include <cstddef>
#include <string_view>

namespace outlast::handover {

// One descriptor along with bytes over a Unix socket (SCM_RIGHTS, unix(7)). Both return what sendmsg and recvmsg
// return, with errno. Thread-safety: any thread.

/// `passed` -1: none. It stays the caller's.
ssize_t send_with_fd(int socket, std::string_view bytes, int passed);
/// `passed`: the descriptor that came along, close-on-exec and the caller's, or -1. Further ones are closed.
ssize_t receive_with_fd(int socket, char* bytes, std::size_t size, int& passed);

}  // namespace outlast::handover
