#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "storage/disk.h"
#include "storage/log_entry.h"
#include "storage/log_segment.h"
#include "storage/open_files.h"

namespace outlast::storage {

/// Where a log lives and how it is cut into files.
struct RangeLogOptions {
  Disk* disk{nullptr};
  OpenFiles* files{nullptr};
  std::string dir;                                       ///< Holds `log.<first lsn>` and, during a cut, `cut`.
  std::uint32_t salt{0};                                 ///< See log_format.h.
  std::uint64_t segment_bytes{std::uint64_t{16} << 20};  ///< A segment is closed once it is this large.
};

/// The log of one replica: entries in a row, and the configurations that the replica accepted, in segment files. The
/// latest configuration stands at the head of every segment, so trimming never loses it.
/// Rules: a torn end that nobody was told about is cut at open; damage in what had been synced is kCorrupt. After a
/// failed sync, or a failed write that could not be undone, the log is damaged() and refuses everything (kIo), and its
/// directory carries the mark of failed_mark.h.
/// Thread-safety: append, sync, cut_after and record_config from one thread at a time; the rest from any.
class RangeLog {
 public:
  /// A new, empty log after `start`, not yet synced with its directory (the caller does that with the rest).
  static Result<void> create(const RangeLogOptions& options, const LogPosition& start, const std::string& config);
  /// Finishes an interrupted cut, cuts a torn tail, and indexes the last segment only.
  static Result<std::unique_ptr<RangeLog>> open(RangeLogOptions options);

  LogPosition end() const;
  LogPosition start() const;
  Lsn synced() const { return Lsn(synced_lsn_.load()); }  ///< On disk up to here.
  std::string config() const;  ///< Text of the latest configuration record; "" before the first.
  std::uint64_t bytes() const;
  bool damaged() const { return damaged_; }

  /// Consecutive to end(), checked (kLogMismatch) together with each checksum (kCorrupt, of the entry, not of the
  /// log). No sync. kDiskFull does no damage; see end() for how many of them went in.
  Result<void> append(std::span<const LogEntryPtr> entries);
  Result<void> sync();
  Result<void> record_config(const std::string& text);  ///< Synced when it returns.
  Result<void> cut_after(Lsn lsn);
  /// Writes the last segment again as it is read, and syncs it: for a log of which a sync failed in an earlier process,
  /// because the kernel may hold for written what never reached the disk. Closed segments were synced before that.
  Result<void> write_again();

  Result<std::vector<LogEntryPtr>> read(Lsn after, std::size_t bytes_max);
  Result<LogPosition> position_at(Lsn lsn);
  /// Sizes of the closed segments with no entry above `upto`, oldest first, each told once (see LogRetention).
  std::vector<std::uint64_t> take_freeable(Lsn upto);
  /// Removes the oldest segment, which was told. Calls must not overlap: a crash between two must leave no gap.
  Result<void> drop_first();

 private:
  struct Segment {
    std::string path;
    Lsn first;  ///< LSN of the first entry that it holds or would hold.
    std::uint64_t bytes{0};
    std::shared_ptr<SegmentScan> index;  ///< Null until asked for. Immutable but for the last segment's, under mutex_.
    bool told{false};                    ///< By take_freeable.
  };

  explicit RangeLog(RangeLogOptions options);
  Result<void> load();
  Result<void> load_tail();
  Result<bool> drop_unborn_tail(const std::string& path, File& file);
  Result<void> finish_cut();
  Result<void> finish_cut_and_load();
  Result<void> cut_files(Lsn lsn);
  Result<void> check_usable() const;
  Result<void> ready();
  Result<void> check_chain(std::span<const LogEntryPtr> entries) const;
  Result<void> roll();
  Result<void> write_at_tail(std::span<const std::string_view> parts, std::uint64_t bytes);
  Error fail(Error error);
  Result<std::shared_ptr<SegmentScan>> index_of(const std::string& path);
  static std::string segment_path(const std::string& dir, Lsn first);

  const RangeLogOptions options_;
  std::atomic<bool> damaged_{false};
  std::atomic<bool> cut_unfinished_{false};  ///< For want of space; `cut` says how far.
  std::atomic<std::uint64_t> synced_lsn_{0};
  mutable std::mutex mutex_;       ///< Guards what follows; never held during I/O.
  std::vector<Segment> segments_;  ///< Never empty after load().
  LogPosition start_, end_;
  std::string config_;
  // Of the thread that appends.
  std::shared_ptr<File> dirty_;  ///< The last segment while it has unsynced bytes.
  bool dir_dirty_{false};
  std::uint64_t synced_bytes_{0};  ///< Of the last segment.
};

}  // namespace outlast::storage
