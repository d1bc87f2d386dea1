#pragma once
#include <string>

#include "base/result.h"

namespace outlast::server {

/// `outlast init`: gives the cluster its id, and returns it. kAlreadyInitialised names the id that is there.
Result<std::string> init_cluster(const std::string& meta_url);

}  // namespace outlast::server
