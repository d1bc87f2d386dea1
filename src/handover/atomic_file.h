#pragma once
#include <string>
#include <string_view>

#include "base/result.h"

namespace outlast::handover {

/// Puts `text` where `path` is, synced: whoever reads sees the old file or the new one. kIo names the file.
Result<void> replace_file(const std::string& path, std::string_view text);

}  // namespace outlast::handover
