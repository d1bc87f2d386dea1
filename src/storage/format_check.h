#pragma once
#include <string>

#include "base/result.h"
#include "storage/disk.h"

namespace outlast::storage {

/// Could this program read the replicas of the store at `path`? Formats only, as far as a look at each replica's first
/// files tells: its identity, and the first entry of its newest log segment. Takes no lock and changes nothing; a node
/// may run on the store, so that what is missing, torn or damaged is no answer here. Errors: kWrongVersion names the
/// file.
Result<void> check_formats(Disk& disk, const std::string& path);

}  // namespace outlast::storage
