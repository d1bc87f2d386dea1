#pragma once
#include <string_view>

namespace outlast::ingest {

/// All the bytes, however the kernel cuts them; waits where the descriptor does not block. Returns errno, 0: written.
int write_all(int fd, std::string_view bytes);

}  // namespace outlast::ingest
