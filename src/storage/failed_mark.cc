#include "storage/failed_mark.h"

#include <algorithm>

#include "storage/sealed_file.h"

namespace outlast::storage {
namespace {

const SealedKind kFailedKind{"failed", 1};

std::string path_in(const std::string& dir) {
  return dir + "/failed";
}

}  // namespace

Result<void> leave_failed_mark(Disk& disk, const std::string& dir, const std::string& why) {
  if (has_failed_mark(disk, dir)) return {};
  std::string line = why;
  std::ranges::replace(line, '\n', ' ');
  auto written = write_sealed(disk, dir, "failed", kFailedKind, {{"why", line}});
  if (written.ok() || has_failed_mark(disk, dir)) return {};
  // Not sealed, which needs a sync that works: presence alone counts.
  auto file = disk.open(path_in(dir), OpenMode::kCreate);
  if (file.ok() || has_failed_mark(disk, dir)) return {};
  return written;
}

bool has_failed_mark(Disk& disk, const std::string& dir) {
  return exists(disk, path_in(dir));
}

Result<void> check_no_failed_mark(Disk& disk, const std::string& dir) {
  if (!has_failed_mark(disk, dir)) return {};
  const auto fields = read_sealed(disk, path_in(dir), kFailedKind);
  return Error(Errc::kCorrupt, "the disk failed while it wrote " + dir +
                                   (fields.ok() ? " (" + text_field(*fields, "why") + ")" : std::string()) +
                                   "; this replica is rebuilt from another one");
}

Result<void> remove_failed_mark(Disk& disk, const std::string& dir) {
  TRY(remove_if_there(disk, path_in(dir)));
  return disk.sync_dir(dir);
}

}  // namespace outlast::storage
