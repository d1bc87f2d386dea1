#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "placement/range_config.h"
#include "storage/commit_sink.h"
#include "storage/database.h"
#include "storage/log_entry.h"

namespace outlast::storage {

class Disk;

/// Which state of a database a file is. One that is not exact may hold pages of later entries too, whole or torn, all
/// of them committed: it is the database at one LSN again when the log has been replayed over it up to `holds`.
struct SnapshotPoint {
  SnapshotPoint() = default;
  SnapshotPoint(const LogPosition& position, Lsn upto = {})  // NOLINT(google-explicit-constructor): most are exact
      : at(position), holds(std::max(upto, position.lsn)) {}
  LogPosition at;
  Lsn holds;
  bool exact() const { return holds == at.lsn; }
  friend bool operator==(const SnapshotPoint&, const SnapshotPoint&) = default;
};

/// A file copy of the database, readable while the range goes on. Deleted with the object.
class SnapshotSource {
 public:
  virtual ~SnapshotSource() = default;
  virtual LogPosition position() const = 0;
  virtual SnapshotPoint point() const { return position(); }
  virtual std::uint64_t file_size() const = 0;
  virtual Result<std::string> read(std::uint64_t offset, std::size_t bytes) = 0;
};

struct Digest {
  LogPosition at;
  std::uint32_t crc{0};  ///< CRC-32C of the database file.
  std::uint64_t file_size{0};
};

/// One pass over a replica's files that looks for damage, in pieces of about so many bytes; each returns how many it
/// read, 0 at its end. First the log: every retained entry is checked against its checksum. Then the database file: its
/// pages against the latest images in the log. kCorrupt names what is wrong.
/// Thread-safety: check_log where log calls are allowed, check_file where file calls are. May outlive the Replica.
class Scrub {
 public:
  virtual ~Scrub() = default;
  virtual Result<std::size_t> check_log(std::size_t bytes) = 0;
  virtual Result<std::size_t> check_file(std::size_t bytes) = 0;
};

/// One replica of a range on disk: `<store>/ranges/<id>/` with the database file, the range log and a checkpoint mark.
/// SQLite's own WAL is scratch: database file + log rebuild everything (design §4, facts in docs/storage.md).
/// All calls block and return when the bytes are where they say. Errors: kIo, kDiskFull, kCorrupt; after one of a
/// sync or a write the replica is damaged() and refuses more (a failed fsync is never retried).
/// Thread-safety: log calls (append, sync, read, cut_after, record_config) from one thread at a time, file calls
/// (apply_to, open_database, snapshots, digest) from one thread at a time; the two groups may run side by side.
class Replica {
 public:
  virtual ~Replica() = default;

  // The log.
  virtual LogPosition log_end() const = 0;    ///< Last entry appended (written, not necessarily synced).
  virtual LogPosition log_start() const = 0;  ///< Position before the first retained entry.
  virtual Result<void> append(std::span<const LogEntryPtr> entries) = 0;  ///< Consecutive to log_end(); no sync.
  virtual Result<void> sync() = 0;
  /// Entries after `after`, up to about `bytes_max` (at least one if there is one).
  virtual Result<std::vector<LogEntryPtr>> read(Lsn after, std::size_t bytes_max) = 0;
  /// kCompacted below log_start(), kNotFound above log_end().
  virtual Result<LogPosition> position_at(Lsn lsn) = 0;
  /// Drops the entries after `lsn` and syncs. Precondition: lsn >= applied(). The caller answers for A4.3's rules.
  virtual Result<void> cut_after(Lsn lsn) = 0;
  /// Writes the accepted configuration (and so the highest accepted epoch) and syncs.
  virtual Result<void> record_config(const placement::RangeConfig& config) = 0;
  virtual std::optional<placement::RangeConfig> recorded_config() const = 0;

  // The database file.
  virtual Lsn applied() const = 0;  ///< The database file holds everything up to here, synced (the checkpoint mark).
  /// Backup side: writes page images of entries up to `durable`, syncs, moves the mark, frees log by the retention
  /// rule. Precondition: no Database is open.
  virtual Result<void> apply_to(Lsn durable) = 0;
  /// Leader side: applies the whole log, deletes old WAL files, opens SQLite. Precondition: everything in the log is
  /// committed (A4.3 v). `sink` must outlive the Database.
  virtual Result<std::shared_ptr<Database>> open_database(CommitSink& sink) = 0;
  /// Copies the database file at a checkpoint (leader) or at applied() (backup, or a leaseholder that does not serve
  /// yet). Only the latter need not be exact, after a restart.
  virtual Result<std::unique_ptr<SnapshotSource>> snapshot() = 0;
  /// Hash of the database file at a checkpoint of `at_least` or later. Leader: no commit may run meanwhile.
  virtual Result<Digest> digest() = 0;
  /// Null where there is nothing to check.
  virtual std::unique_ptr<Scrub> start_scrub() { return nullptr; }
  virtual std::uint64_t disk_bytes() const = 0;
  virtual std::uint64_t log_bytes() const { return 0; }  ///< Of disk_bytes(), what the range log takes.
  virtual bool damaged() const = 0;
};

/// What tells a replica from another one's: checked at every open.
struct ReplicaIdentity {
  RangeId range;
  ReplicaId replica;
  std::string store_uuid;
};

/// The replicas in one store. Thread-safety: any thread; calls block on the disk.
class ReplicaStore {
 public:
  virtual ~ReplicaStore() = default;
  virtual std::vector<ReplicaIdentity> list() const = 0;
  /// An empty replica at LSN 0, made from the template file (identical on all nodes). kAlreadyExists.
  virtual Result<std::unique_ptr<Replica>> create(const ReplicaIdentity& identity) = 0;
  /// Recovers what is there: cuts a torn, never synced tail silently; kCorrupt for damage in a synced part, and for a
  /// replica whose disk failed before, see distrust().
  virtual Result<std::unique_ptr<Replica>> open(RangeId range) = 0;
  /// Receives a snapshot piece by piece into `<id>.incoming`, resumable by offset after a restart; `finish` checks
  /// size, then replaces the replica's files atomically with the file at `point` and an empty log after it.
  virtual Result<std::uint64_t> receive_snapshot(const ReplicaIdentity& identity, const SnapshotPoint& point,
                                                 std::uint64_t file_size, std::uint64_t offset,
                                                 std::string_view data) = 0;
  virtual Result<std::unique_ptr<Replica>> finish_snapshot(const ReplicaIdentity& identity,
                                                           const SnapshotPoint& point) = 0;
  virtual Result<void> remove(RangeId range) = 0;
  /// Open() refuses this replica from now on, in later processes too, because a sync or a write of it failed
  /// (failed_mark.h). Success: the mark is there, or there is no such replica. remove() takes it away.
  virtual Result<void> distrust(RangeId) { return {}; }
  /// Opens a replica that carries the mark all the same, for a range that has no other: writes the end of its log
  /// again, so that it is on the disk for certain, and takes the mark away. kNotFound when there is no mark.
  virtual Result<std::unique_ptr<Replica>> salvage(RangeId range) { return open(range); }
};

}  // namespace outlast::storage
