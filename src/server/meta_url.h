#pragma once
#include <memory>
#include <string>

#include "base/loop.h"
#include "meta/store.h"

namespace outlast::server {

/// Opens the metadata store that `--meta` names. "embedded:DIR" makes the directory when it is missing.
/// kInvalidArgument for another kind, with the forms that this version knows.
Result<std::unique_ptr<meta::Store>> open_meta(const std::string& url, Loop& loop);

}  // namespace outlast::server
