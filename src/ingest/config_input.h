#pragma once
#include "ingest/config.h"
#include "ingest/config_table.h"

namespace outlast::ingest {

/// One [[input]] table. Errors: kInvalidArgument names `file` and the line.
Result<InputConfig> read_input(const toml::table& from, const std::string& file);

}  // namespace outlast::ingest
