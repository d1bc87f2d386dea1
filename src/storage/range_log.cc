#include "storage/range_log.h"

#include <algorithm>

#include "base/crc32c.h"
#include "storage/failed_mark.h"

namespace outlast::storage {
namespace {

std::string config_record(const std::string& text, const LogPosition& end, std::uint64_t synced, std::uint32_t salt) {
  RecordHeader header{RecordKind::kConfig, static_cast<std::uint32_t>(text.size()), end, {}, synced};
  header.at.checksum = crc32c(text);
  return encode(header, salt) + text;
}

}  // namespace

RangeLog::RangeLog(RangeLogOptions options) : options_(std::move(options)) {}

Result<void> RangeLog::create(const RangeLogOptions& options, const LogPosition& start, const std::string& config) {
  std::string bytes = encode(SegmentHeader{start}, options.salt);
  if (!config.empty()) bytes += config_record(config, start, 0, options.salt);
  ASSIGN_OR_RETURN(const auto file,
                   options.disk->open(segment_path(options.dir, start.lsn.next()), OpenMode::kCreateNew));
  TRY(file->pwrite(0, bytes));
  return file->sync();
}

LogPosition RangeLog::end() const {
  const std::lock_guard lock(mutex_);
  return end_;
}
LogPosition RangeLog::start() const {
  const std::lock_guard lock(mutex_);
  return start_;
}
std::string RangeLog::config() const {
  const std::lock_guard lock(mutex_);
  return config_;
}
std::uint64_t RangeLog::bytes() const {
  const std::lock_guard lock(mutex_);
  std::uint64_t sum = 0;
  for (const Segment& segment : segments_) sum += segment.bytes;
  return sum;
}

Error RangeLog::fail(Error error) {
  damaged_ = true;
  if (error.code == Errc::kDiskFull) error.code = Errc::kIo;  // more room does not repair it
  // At once, before anybody hears of it: the process may be killed next. A mark that fails is asked for again.
  if (error.code == Errc::kIo) (void)leave_failed_mark(*options_.disk, options_.dir, error.message);
  return error;
}

Result<void> RangeLog::check_usable() const {
  if (damaged_)
    return Error(Errc::kIo, "the log in " + options_.dir + " failed before; this replica must be rebuilt or restarted");
  if (cut_unfinished_)
    return Error(Errc::kDiskFull, "the log in " + options_.dir + " is being cut; free space on this disk");
  return {};
}

/// For the thread that appends: finishes a cut first that found no room.
Result<void> RangeLog::ready() {
  if (cut_unfinished_ && !damaged_) TRY(finish_cut_and_load());
  return check_usable();
}

Result<void> RangeLog::check_chain(std::span<const LogEntryPtr> entries) const {
  LogPosition end = this->end();
  for (const LogEntryPtr& entry : entries) {
    if (entry->prev != end || entry->at.lsn != end.lsn.next() || entry->at.epoch < end.epoch)
      return Error(Errc::kLogMismatch, "entry " + entry->at.lsn.to_string() +
                                           " does not continue the log, which ends at " + end.lsn.to_string() +
                                           " of epoch " + end.epoch.to_string());
    if (entry_checksum(entry->at.lsn, entry->at.epoch, entry->prev, entry->payload) != entry->at.checksum)
      return Error(Errc::kCorrupt,
                   "entry " + entry->at.lsn.to_string() + " was damaged on its way here; send it again");
    end = entry->at;
  }
  return {};
}

Result<void> RangeLog::append(std::span<const LogEntryPtr> entries) {
  TRY(ready());
  TRY(check_chain(entries));
  while (!entries.empty()) {
    bool full;
    std::uint64_t offset;
    {
      const std::lock_guard lock(mutex_);
      full = segments_.back().bytes >= options_.segment_bytes && segments_.back().first <= end_.lsn;
      offset = segments_.back().bytes;
    }
    if (full) {
      TRY(roll());
      continue;
    }
    // As many as the segment takes: the last one may reach over its end.
    std::vector<std::string> headers;
    std::vector<std::pair<EntrySpot, LogEntryPtr>> spots;
    std::uint64_t at = offset;
    for (const LogEntryPtr& entry : entries) {
      if (at >= options_.segment_bytes && !spots.empty()) break;
      headers.push_back(encode(RecordHeader{RecordKind::kEntry, static_cast<std::uint32_t>(entry->payload.size()),
                                            entry->at, entry->prev, synced_bytes_},
                               options_.salt));
      spots.push_back({{static_cast<std::uint32_t>(at), entry->at.checksum}, entry});
      at += kRecordHeaderBytes + entry->payload.size();
    }
    std::vector<std::string_view> parts;
    for (std::size_t i = 0; i < spots.size(); ++i) {
      parts.push_back(headers[i]);
      parts.push_back(spots[i].second->payload);
    }
    TRY(write_at_tail(parts, at - offset));
    const std::lock_guard lock(mutex_);
    SegmentScan& index = *segments_.back().index;
    for (const auto& [spot, entry] : spots) {
      if (index.epochs.empty() || index.epochs.back().epoch != entry->at.epoch)
        index.epochs.push_back({entry->at.lsn, entry->at.epoch});
      index.spots.push_back(spot);
      end_ = entry->at;
    }
    entries = entries.subspan(spots.size());
  }
  return {};
}

/// Writes behind the last record. A failure that leaves the file as it was before is the caller's to report; any other
/// one damages the log.
Result<void> RangeLog::write_at_tail(std::span<const std::string_view> parts, std::uint64_t bytes) {
  std::string path;
  std::uint64_t offset;
  {
    const std::lock_guard lock(mutex_);
    path = segments_.back().path;
    offset = segments_.back().bytes;
  }
  if (dirty_ == nullptr) {
    ASSIGN_OR_RETURN(dirty_, options_.files->get(path));
  }
  auto written = dirty_->pwrite(offset, parts);
  if (!written.ok()) {
    if (written.error().code != Errc::kDiskFull || !dirty_->truncate(offset).ok()) return fail(written.error());
    return written;
  }
  const std::lock_guard lock(mutex_);
  segments_.back().bytes += bytes;
  return {};
}

Result<void> RangeLog::sync() {
  TRY(ready());
  std::uint64_t bytes;
  Lsn reached;
  {
    const std::lock_guard lock(mutex_);
    bytes = segments_.back().bytes;
    reached = end_.lsn;
  }
  if (dirty_ != nullptr) {
    if (auto synced = dirty_->sync(); !synced.ok()) return fail(synced.error());
    dirty_.reset();
  }
  if (dir_dirty_) {
    if (auto synced = options_.disk->sync_dir(options_.dir); !synced.ok()) return fail(synced.error());
    dir_dirty_ = false;
  }
  synced_bytes_ = bytes;
  synced_lsn_ = reached.value;
  return {};
}

/// Closes the last segment, synced, and begins the next one, with the latest configuration at its head.
Result<void> RangeLog::roll() {
  TRY(sync());
  const LogPosition prev = end();
  Segment next{segment_path(options_.dir, prev.lsn.next()), prev.lsn.next(), 0, std::make_shared<SegmentScan>()};
  next.index->prev = prev;
  std::string head = encode(SegmentHeader{prev}, options_.salt);
  if (const std::string text = config(); !text.empty()) head += config_record(text, prev, 0, options_.salt);
  {
    ASSIGN_OR_RETURN(const auto file, options_.disk->open(next.path, OpenMode::kCreateNew));
    if (auto written = file->pwrite(0, head); !written.ok()) {
      if (written.error().code != Errc::kDiskFull || !options_.disk->remove(next.path).ok())
        return fail(written.error());
      return written;
    }
  }
  next.bytes = head.size();
  ASSIGN_OR_RETURN(dirty_, options_.files->get(next.path));
  dir_dirty_ = true;
  synced_bytes_ = 0;
  const std::lock_guard lock(mutex_);
  segments_.push_back(std::move(next));
  return {};
}

Result<void> RangeLog::record_config(const std::string& text) {
  TRY(ready());
  OUTLAST_ASSERT(!text.empty());
  const std::string record = config_record(text, end(), synced_bytes_, options_.salt);
  const std::string_view part = record;
  TRY(write_at_tail(std::span(&part, 1), record.size()));
  {
    const std::lock_guard lock(mutex_);
    config_ = text;
  }
  return sync();
}

Result<std::shared_ptr<SegmentScan>> RangeLog::index_of(const std::string& path) {
  {
    const std::lock_guard lock(mutex_);
    const auto it = std::ranges::find(segments_, path, &Segment::path);
    if (it == segments_.end()) return Error(Errc::kCompacted, "the log no longer reaches back that far");
    if (it->index != nullptr) return it->index;
  }
  ASSIGN_OR_RETURN(const auto file, options_.files->get(path));
  ASSIGN_OR_RETURN(SegmentScan scan, scan_segment(*file, options_.salt, path));
  auto index = std::make_shared<SegmentScan>(std::move(scan));
  const std::lock_guard lock(mutex_);
  const auto it = std::ranges::find(segments_, path, &Segment::path);
  if (it == segments_.end()) return Error(Errc::kCompacted, "the log no longer reaches back that far");
  const bool last = std::next(it) == segments_.end();
  const Lsn reaches = last ? end_.lsn : Lsn(std::next(it)->first.value - 1);
  if (index->good_bytes != index->file_bytes || index->end().lsn != reaches || index->prev.lsn.next() != it->first) {
    damaged_ = true;
    return Error(Errc::kCorrupt, path + " is damaged at byte " + std::to_string(index->good_bytes) +
                                     "; this replica must be rebuilt from another one");
  }
  it->index = index;
  return index;
}

Result<LogPosition> RangeLog::position_at(Lsn lsn) {
  std::string path;
  {
    const std::lock_guard lock(mutex_);
    if (lsn == end_.lsn) return end_;
    if (lsn == start_.lsn) return start_;
    if (lsn < start_.lsn) return Error(Errc::kCompacted, "the log begins after " + start_.lsn.to_string());
    if (lsn > end_.lsn) return Error(Errc::kNotFound, "the log ends at " + end_.lsn.to_string());
    const auto after = std::ranges::upper_bound(segments_, lsn, {}, &Segment::first);
    path = std::prev(after)->path;
  }
  ASSIGN_OR_RETURN(const auto index, index_of(path));
  const std::lock_guard lock(mutex_);
  const std::size_t i = lsn.value - index->prev.lsn.value - 1;
  if (i >= index->spots.size()) return Error(Errc::kNotFound, "the log was cut before " + lsn.to_string());
  return index->position(i);
}

Result<std::vector<LogEntryPtr>> RangeLog::read(Lsn after, std::size_t bytes_max) {
  TRY(check_usable());
  std::vector<LogEntryPtr> entries;
  std::size_t bytes = 0;
  ASSIGN_OR_RETURN(LogPosition prev, position_at(after));
  std::shared_ptr<SegmentScan> index;
  std::shared_ptr<File> file;
  std::string open_path;
  while (entries.empty() || bytes < bytes_max) {
    const Lsn lsn = prev.lsn.next();
    std::string path;
    {
      const std::lock_guard lock(mutex_);
      if (lsn > end_.lsn) break;
      path = std::prev(std::ranges::upper_bound(segments_, lsn, {}, &Segment::first))->path;
    }
    if (path != open_path) {
      ASSIGN_OR_RETURN(index, index_of(path));
      ASSIGN_OR_RETURN(file, options_.files->get(path));
      open_path = path;
    }
    auto entry = std::make_shared<LogEntry>();
    std::uint64_t offset;
    {
      const std::lock_guard lock(mutex_);
      const std::size_t i = lsn.value - index->prev.lsn.value - 1;
      if (i >= index->spots.size()) break;  // cut meanwhile
      offset = index->spots[i].offset;
      entry->at = index->position(i);
    }
    entry->prev = prev;
    std::string head(kRecordHeaderBytes, '\0');
    ASSIGN_OR_RETURN(std::size_t n, file->pread(offset, head.data(), head.size()));
    auto header = decode_record_header(std::string_view(head).substr(0, n), options_.salt);
    if (header.ok()) {
      entry->payload.resize(header->payload_bytes);
      ASSIGN_OR_RETURN(n, file->pread(offset + kRecordHeaderBytes, entry->payload.data(), entry->payload.size()));
    }
    if (!header.ok() || n != entry->payload.size() || header->at != entry->at || header->prev != prev ||
        !payload_matches(*header, entry->payload))
      return fail({Errc::kCorrupt, path + " is damaged at byte " + std::to_string(offset) +
                                       "; this replica must be rebuilt from another one"});
    prev = entry->at;
    bytes += entry->payload.size();
    entries.push_back(std::move(entry));
  }
  return entries;
}

std::vector<std::uint64_t> RangeLog::take_freeable(Lsn upto) {
  const std::lock_guard lock(mutex_);
  std::vector<std::uint64_t> sizes;
  for (std::size_t i = 0; i + 1 < segments_.size() && segments_[i + 1].first.value - 1 <= upto.value; ++i) {
    if (std::exchange(segments_[i].told, true)) continue;
    sizes.push_back(segments_[i].bytes);
  }
  return sizes;
}

Result<void> RangeLog::drop_first() {
  TRY(check_usable());
  // A cut may have made it the last segment again, which takes new entries: then it is told anew once it is closed.
  const auto freeable = [this] { return segments_.size() > 1 && segments_.front().told; };
  std::string path;
  LogPosition next_start;
  {
    const std::lock_guard lock(mutex_);
    if (!freeable()) return {};
    path = segments_.front().path;
    next_start.lsn = Lsn(segments_[1].first.value - 1);
  }
  ASSIGN_OR_RETURN(next_start, position_at(next_start.lsn));
  {
    const std::lock_guard lock(mutex_);
    if (!freeable()) return {};
    segments_.erase(segments_.begin());
    start_ = next_start;
  }
  options_.files->forget(path);
  TRY(options_.disk->remove(path));
  return options_.disk->sync_dir(options_.dir);
}

}  // namespace outlast::storage
