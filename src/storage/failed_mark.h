#pragma once
#include <string>

#include "base/result.h"
#include "storage/disk.h"

namespace outlast::storage {

/// The mark in a replica's directory that says that a sync or a write of its files failed. The kernel may have dropped
/// what it could not write and still show it, to later processes too, and calls the next sync a success: what is read
/// there need not be on the disk. So a marked replica is not opened again (protocol A4.8).

/// Leaves the mark; one that is there stays. Its own sync may fail as well: it is read through the same cache that must
/// not be trusted, and after a loss of power, which may take it, the disk itself is read and can be trusted.
Result<void> leave_failed_mark(Disk& disk, const std::string& dir, const std::string& why);
bool has_failed_mark(Disk& disk, const std::string& dir);
/// kCorrupt when there is a mark: why, and what to do.
Result<void> check_no_failed_mark(Disk& disk, const std::string& dir);
/// Returns when its absence will last.
Result<void> remove_failed_mark(Disk& disk, const std::string& dir);

}  // namespace outlast::storage
