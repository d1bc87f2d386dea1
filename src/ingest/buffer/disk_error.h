#pragma once
#include <string>

#include "base/result.h"

namespace outlast::ingest {

/// "cannot WHAT PATH: reason", with kDiskFull where room is what is missing and kIo for the rest.
Error disk_error(const std::string& what, const std::string& path, int error_number);

}  // namespace outlast::ingest
