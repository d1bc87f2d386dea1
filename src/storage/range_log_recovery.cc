// How a log opens and how its end is cut: the parts of RangeLog that decide what history is.
#include <algorithm>
#include <charconv>
#include <cstdio>

#include "base/crc32c.h"
#include "storage/range_log.h"
#include "storage/sealed_file.h"

namespace outlast::storage {
namespace {

const SealedKind kCutKind{"cut", 1};
constexpr std::string_view kPrefix = "log.";

/// The first LSN in a segment's name; 0 for another file.
Lsn first_lsn_in(std::string_view name) {
  std::uint64_t lsn = 0;
  if (!name.starts_with(kPrefix)) return {};
  name.remove_prefix(kPrefix.size());
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), lsn);
  return error == std::errc() && end == name.data() + name.size() ? Lsn(lsn) : Lsn();
}

}  // namespace

std::string RangeLog::segment_path(const std::string& dir, Lsn first) {
  char name[40];
  std::snprintf(name, sizeof name, "/log.%020llu", static_cast<unsigned long long>(first.value));
  return dir + name;
}

Result<std::unique_ptr<RangeLog>> RangeLog::open(RangeLogOptions options) {
  std::unique_ptr<RangeLog> log(new RangeLog(std::move(options)));
  TRY(log->load());
  return log;
}

Result<void> RangeLog::load() {
  ASSIGN_OR_RETURN(const auto names, options_.disk->list(options_.dir));
  for (const std::string& name : names)
    if (const Lsn first = first_lsn_in(name); first) {
      ASSIGN_OR_RETURN(const std::uint64_t bytes, options_.disk->file_size(options_.dir + "/" + name));
      segments_.push_back({options_.dir + "/" + name, first, bytes, nullptr});
    }
  std::ranges::sort(segments_, {}, &Segment::first);
  if (segments_.empty())
    return Error(Errc::kCorrupt, options_.dir + " has lost its log; this replica must be rebuilt from another one");
  TRY(finish_cut());
  TRY(load_tail());
  // The position before the first entry is in the first segment's header.
  if (segments_.size() == 1) {
    start_ = segments_.front().index->prev;
    return {};
  }
  ASSIGN_OR_RETURN(const auto file, options_.files->get(segments_.front().path));
  std::string head(kSegmentHeaderBytes, '\0');
  ASSIGN_OR_RETURN(const std::size_t n, file->pread(0, head.data(), head.size()));
  auto header = decode_segment_header(std::string_view(head).substr(0, n), options_.salt);
  if (!header.ok()) return std::move(header.error()).within(segments_.front().path);
  start_ = header->prev;
  return {};
}

Result<void> RangeLog::load_tail() {
  std::string path;
  Lsn first;
  std::size_t segments;
  {
    const std::lock_guard lock(mutex_);
    path = segments_.back().path;
    first = segments_.back().first;
    segments = segments_.size();
  }
  ASSIGN_OR_RETURN(const auto file, options_.files->get(path));
  auto scan = scan_tail(*file, options_.salt, path);
  if (!scan.ok()) {
    if (scan.error().code != Errc::kCorrupt || segments == 1) return std::move(scan).error();
    ASSIGN_OR_RETURN(const bool dropped, drop_unborn_tail(path, *file));
    if (!dropped) return std::move(scan).error();
    return load_tail();
  }
  if (scan->good_bytes < scan->file_bytes) {
    TRY(file->truncate(scan->good_bytes));
    ASSIGN_OR_RETURN(*scan, scan_segment(*file, options_.salt, path));
  }
  if (scan->prev.lsn.next() != first)
    return Error(Errc::kCorrupt, path + " carries the wrong name; this replica must be rebuilt from another one");
  // What a killed process had written is in the page cache and counts from now on, so it must be on disk.
  TRY(file->sync());
  if (segments > 1) TRY(options_.disk->sync_dir(options_.dir));
  synced_bytes_ = scan->good_bytes;
  const std::lock_guard lock(mutex_);
  segments_.back().bytes = scan->good_bytes;
  segments_.back().told = false;
  end_ = scan->end();
  synced_lsn_ = end_.lsn.value;
  config_ = scan->config;
  segments_.back().index = std::make_shared<SegmentScan>(std::move(*scan));
  return {};
}

/// Removes a last segment whose very header is torn: nobody was told about it, for the one before it was synced first.
Result<bool> RangeLog::drop_unborn_tail(const std::string& path, File& file) {
  std::string head(kSegmentHeaderBytes, '\0');
  ASSIGN_OR_RETURN(const std::size_t n, file.pread(0, head.data(), head.size()));
  if (decode_segment_header(std::string_view(head).substr(0, n), options_.salt).ok()) return false;
  ASSIGN_OR_RETURN(const std::uint64_t bytes, file.size());
  ASSIGN_OR_RETURN(const bool vouched, later_record_vouches(file, 0, bytes, options_.salt));
  if (vouched) return false;
  options_.files->forget(path);
  TRY(options_.disk->remove(path));
  TRY(options_.disk->sync_dir(options_.dir));
  const std::lock_guard lock(mutex_);
  segments_.pop_back();
  return true;
}

Result<void> RangeLog::cut_after(Lsn lsn) {
  TRY(ready());
  {
    const std::lock_guard lock(mutex_);
    if (lsn == end_.lsn) return {};
    if (lsn > end_.lsn || lsn < start_.lsn)
      return Error(Errc::kInvalidState, "cannot cut the log after " + lsn.to_string() + ": it holds " +
                                            start_.lsn.next().to_string() + " to " + end_.lsn.to_string());
  }
  TRY(sync());  // what stays must be there when the cut is finished after a crash
  // The configurations behind the cut must survive it, in particular the highest epoch: so the cut is written down
  // first, with the latest one, and finished at the next open if this process dies on the way.
  auto noted =
      write_sealed(*options_.disk, options_.dir, "cut", kCutKind, {{"after", lsn.to_string()}, {"config", config()}});
  if (!noted.ok()) return noted.error().code == Errc::kDiskFull ? noted.error() : fail(noted.error());
  dirty_.reset();
  return finish_cut_and_load();
}

/// Want of space is no damage: the intent stays, and the next call that writes tries again.
Result<void> RangeLog::finish_cut_and_load() {
  cut_unfinished_ = true;
  if (auto cut = finish_cut(); !cut.ok()) {
    if (damaged_ || cut.error().code != Errc::kDiskFull) return fail(cut.error());
    return cut;
  }
  if (auto loaded = load_tail(); !loaded.ok()) return fail(loaded.error());
  cut_unfinished_ = false;
  return {};
}

Result<void> RangeLog::finish_cut() {
  auto intent = read_sealed(*options_.disk, options_.dir + "/cut", kCutKind);
  if (!intent.ok()) {
    if (intent.error().code == Errc::kNotFound) return {};
    return std::move(intent).error();
  }
  ASSIGN_OR_RETURN(const std::uint64_t after, number_field(*intent, "after"));
  const std::string config = text_field(*intent, "config");
  TRY(cut_files(Lsn(after)));
  std::string path;
  {
    const std::lock_guard lock(mutex_);
    path = segments_.back().path;
  }
  ASSIGN_OR_RETURN(const auto file, options_.files->get(path));
  ASSIGN_OR_RETURN(const SegmentScan scan, scan_segment(*file, options_.salt, path));
  if (after > scan.end().lsn.value)
    return Error(Errc::kCorrupt, path + " ends before the cut at " + std::to_string(after) +
                                     "; this replica must be rebuilt from another one");
  const std::size_t kept = after - scan.prev.lsn.value;
  std::uint64_t end = scan.good_bytes;
  if (kept < scan.spots.size()) end = scan.spots[kept].offset;
  TRY(file->truncate(end));
  if (!config.empty()) {
    RecordHeader header{RecordKind::kConfig, static_cast<std::uint32_t>(config.size()), scan.end(), {}, 0};
    header.at.checksum = crc32c(config);
    TRY(file->pwrite(end, encode(header, options_.salt) + config));
  }
  if (auto synced = file->sync(); !synced.ok()) return fail(synced.error());
  TRY(options_.disk->remove(options_.dir + "/cut"));
  return options_.disk->sync_dir(options_.dir);
}

Result<void> RangeLog::write_again() {
  TRY(ready());
  constexpr std::uint64_t kPieceBytes = std::uint64_t{1} << 20;
  std::string path;
  std::uint64_t bytes;
  {
    const std::lock_guard lock(mutex_);
    path = segments_.back().path;
    bytes = segments_.back().bytes;
  }
  ASSIGN_OR_RETURN(const auto file, options_.files->get(path));
  std::string piece;
  for (std::uint64_t at = 0; at < bytes; at += piece.size()) {
    piece.resize(std::min(kPieceBytes, bytes - at));
    ASSIGN_OR_RETURN(const std::size_t n, file->pread(at, piece.data(), piece.size()));
    if (n != piece.size()) return Error(Errc::kCorrupt, path + " became shorter while it was read");
    if (auto written = file->pwrite(at, piece); !written.ok()) return fail(written.error());
  }
  if (auto synced = file->sync(); !synced.ok()) return fail(synced.error());
  if (auto synced = options_.disk->sync_dir(options_.dir); !synced.ok()) return fail(synced.error());
  return {};
}

/// Removes the segments that hold nothing at or below `lsn`, last first.
Result<void> RangeLog::cut_files(Lsn lsn) {
  for (;;) {
    std::string path;
    {
      const std::lock_guard lock(mutex_);
      if (segments_.size() < 2 || segments_.back().first <= lsn) return {};
      path = segments_.back().path;
      segments_.pop_back();
    }
    options_.files->forget(path);
    TRY(options_.disk->remove(path));
  }
}

}  // namespace outlast::storage
