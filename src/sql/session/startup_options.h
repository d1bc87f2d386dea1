#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace outlast::sql {

/// "-c name=value --name=value" of PGOPTIONS, into name and value. kProtocolViolation for anything else.
Result<std::vector<std::pair<std::string, std::string>>> parse_options(std::string_view options);

}  // namespace outlast::sql
