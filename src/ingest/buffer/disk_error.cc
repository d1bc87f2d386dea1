#include "ingest/buffer/disk_error.h"

#include <cerrno>
#include <cstring>

namespace outlast::ingest {

Error disk_error(const std::string& what, const std::string& path, int error_number) {
  const bool full = error_number == ENOSPC || error_number == EDQUOT;
  return {full ? Errc::kDiskFull : Errc::kIo, "cannot " + what + " " + path + ": " + std::strerror(error_number)};
}

}  // namespace outlast::ingest
