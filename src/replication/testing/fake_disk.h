#pragma once
// A disk that keeps what was synced and may lose the rest in a crash, with storage's interfaces on top. Test support.
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "base/loop.h"
#include "storage/log_writer.h"
#include "storage/replica.h"

namespace outlast::replication::testing {

using storage::LogEntryPtr;
using storage::LogPosition;

/// One replica's files. `start` is the position before the first retained entry.
struct RangeFiles {
  storage::ReplicaIdentity identity;
  LogPosition start, applied;
  std::vector<LogEntryPtr> log;
  std::size_t synced{0};  ///< Entries of `log` that survive a crash.
  std::optional<placement::RangeConfig> config;
  std::optional<LogPosition> incoming;

  LogPosition end() const { return log.empty() ? start : log.back()->at; }
  LogPosition synced_end() const { return synced == 0 ? start : log[synced - 1]->at; }
  std::optional<LogPosition> at(Lsn lsn) const {
    if (lsn == start.lsn) return start;
    if (lsn < start.lsn || lsn > end().lsn) return std::nullopt;
    return log[lsn.value - start.lsn.value - 1]->at;
  }
};

struct FakeDisk {
  std::map<RangeId, RangeFiles> ranges;
  std::size_t log_keep{20};  ///< Entries kept behind the applied position.
  std::function<void(RangeId, const storage::LogEntry&)> on_append = [](RangeId, const storage::LogEntry&) {};
  int in_use{0};  ///< So many removals more find the replica still open.
  bool sync_fails{false};
  std::set<RangeId> flipped;     ///< A scrub would find damage here.
  std::set<RangeId> distrusted;  ///< Carry the mark of a failed disk.
  bool snapshot_fails{false};
  int snapshots{0};  ///< Asked for.
  bool full{false};
  std::size_t room{0};  ///< So many writes still find space on the full disk.
  bool reserve{true};   ///< The records of configurations always do.

  Result<void> take_space() {
    if (!full) return {};
    if (room == 0) return Error(Errc::kDiskFull, "the simulated disk is full");
    --room;
    return {};
  }

  /// Unsynced entries: a random number of them reached the disk all the same.
  void crash(Random& random) {
    for (auto& [id, files] : ranges) {
      const std::size_t kept = files.synced + random.below(files.log.size() - files.synced + 1);
      files.log.resize(kept);
      files.synced = kept;
    }
  }
};

class FakeDatabase final : public storage::Database {
 public:
  FakeDatabase(std::shared_ptr<FakeDisk> disk, RangeId range, storage::CommitSink& sink)
      : disk_(std::move(disk)), range_(range), sink_(sink) {}
  Result<std::unique_ptr<storage::Connection>> connect() override {
    return Error(Errc::kInternal, "the fake has no SQL");
  }
  Result<Lsn> checkpoint() override;
  Result<std::shared_ptr<storage::Database>> durable_view(Lsn durable) override;
  std::uint64_t wal_bytes() const override { return 0; }
  void fence() override { fenced_ = true; }
  /// SQLite fails behind a commit and rolls it back.
  void drop(Lsn lsn) { sink_.commit_dropped(lsn); }
  /// What a SQL thread does at a commit.
  Result<Lsn> write(const std::string& text, storage::RequestOutcome request = {}) {
    if (fenced_) return Error(Errc::kNotLeaseholder, "fenced");
    storage::CommitPages pages;
    pages.request = std::move(request);
    pages.pages.emplace_back(1, text);
    return sink_.commit(std::move(pages));
  }

 private:
  const std::shared_ptr<FakeDisk> disk_;
  const RangeId range_;
  storage::CommitSink& sink_;
  std::weak_ptr<storage::Database> view_;
  bool fenced_{false};
};

class FakeView final : public storage::Database {
 public:
  Result<std::unique_ptr<storage::Connection>> connect() override {
    return Error(Errc::kInternal, "the fake has no SQL");
  }
  Result<Lsn> checkpoint() override { return Error(Errc::kInvalidState, "a view"); }
  Result<std::shared_ptr<storage::Database>> durable_view(Lsn) override { return Error(Errc::kInvalidState, "a view"); }
  std::uint64_t wal_bytes() const override { return 0; }
  void fence() override {}
};

inline Result<std::shared_ptr<storage::Database>> FakeDatabase::durable_view(Lsn durable) {
  if (fenced_) return Error(Errc::kFenced, "fenced");
  OUTLAST_ASSERT(durable >= disk_->ranges.at(range_).applied.lsn, "the file holds later pages than the view");
  auto view = std::make_shared<FakeView>();
  view_ = view;
  return std::shared_ptr<storage::Database>(std::move(view));
}

class FakeSnapshot final : public storage::SnapshotSource {
 public:
  explicit FakeSnapshot(LogPosition at) : at_(at) {}
  LogPosition position() const override { return at_; }
  std::uint64_t file_size() const override { return 3000; }
  Result<std::string> read(std::uint64_t offset, std::size_t bytes) override {
    return std::string(std::min<std::size_t>(bytes, 3000 - offset), 'x');
  }

 private:
  const LogPosition at_;
};

class FakeScrub final : public storage::Scrub {
 public:
  FakeScrub(std::shared_ptr<FakeDisk> disk, RangeId range) : disk_(std::move(disk)), range_(range) {}
  Result<std::size_t> check_log(std::size_t) override { return 0U; }
  Result<std::size_t> check_file(std::size_t) override {
    if (disk_->flipped.contains(range_)) return Error(Errc::kCorrupt, "a bit was flipped");
    return 0U;
  }

 private:
  const std::shared_ptr<FakeDisk> disk_;
  const RangeId range_;
};

class FakeReplica final : public storage::Replica {
 public:
  FakeReplica(std::shared_ptr<FakeDisk> disk, RangeId range) : disk_(std::move(disk)), range_(range) {}

  LogPosition log_end() const override { return files().end(); }
  LogPosition log_start() const override { return files().start; }
  Result<void> append(std::span<const LogEntryPtr> entries) override {
    for (const LogEntryPtr& entry : entries) {
      if (entry->prev != files().end()) return Error(Errc::kLogMismatch, "append does not continue the log");
      TRY(disk_->take_space());
      disk_->on_append(range_, *entry);
      files().log.push_back(entry);
    }
    return {};
  }
  Result<void> sync() override {
    if (disk_->sync_fails) {
      damaged_ = true;
      return Error(Errc::kIo, "planted sync failure");
    }
    files().synced = files().log.size();
    return {};
  }
  Result<std::vector<LogEntryPtr>> read(Lsn after, std::size_t bytes_max) override {
    if (after < files().start.lsn) return Error(Errc::kCompacted, "trimmed");
    std::vector<LogEntryPtr> out;
    std::size_t bytes = 0;
    for (std::size_t i = after.value - files().start.lsn.value; i < files().log.size() && bytes < bytes_max; ++i) {
      out.push_back(files().log[i]);
      bytes += files().log[i]->payload.size();
    }
    return out;
  }
  Result<LogPosition> position_at(Lsn lsn) override {
    if (lsn < files().start.lsn) return Error(Errc::kCompacted, "trimmed");
    const auto found = files().at(lsn);
    if (!found) return Error(Errc::kNotFound, "above the end");
    return *found;
  }
  Result<void> cut_after(Lsn lsn) override {
    OUTLAST_ASSERT(lsn >= files().applied.lsn, "cut below what is applied");
    files().log.resize(lsn.value - files().start.lsn.value);
    files().synced = files().log.size();
    return {};
  }
  Result<void> record_config(const placement::RangeConfig& config) override {
    if (!disk_->reserve) TRY(disk_->take_space());
    files().config = config;
    return sync();
  }
  std::optional<placement::RangeConfig> recorded_config() const override { return files().config; }
  Lsn applied() const override { return files().applied.lsn; }
  Result<void> apply_to(Lsn durable) override {
    if (durable <= files().applied.lsn) return {};
    TRY(disk_->take_space());
    OUTLAST_ASSERT(durable <= files().synced_end().lsn, "applies what is not synced");
    files().applied = *files().at(durable);
    trim();
    return {};
  }
  Result<std::shared_ptr<storage::Database>> open_database(storage::CommitSink& sink) override {
    if (!database_.expired()) return Error(Errc::kInvalidState, "the database is open already");
    if (files().applied != files().end()) TRY(disk_->take_space());
    files().applied = files().end();
    auto database = std::make_shared<FakeDatabase>(disk_, range_, sink);
    database_ = database;
    return std::shared_ptr<storage::Database>(std::move(database));
  }
  Result<std::unique_ptr<storage::SnapshotSource>> snapshot() override {
    ++disk_->snapshots;
    if (disk_->snapshot_fails) return Error(Errc::kDiskFull, "there is no room for a copy");
    return std::unique_ptr<storage::SnapshotSource>(std::make_unique<FakeSnapshot>(files().applied));
  }
  /// The checksum chain stands for the file's content.
  Result<storage::Digest> digest() override {
    if (!database_.expired()) files().applied = files().end();  // a leader checkpoints first
    return storage::Digest{files().applied, files().applied.checksum, 3000};
  }
  std::unique_ptr<storage::Scrub> start_scrub() override { return std::make_unique<FakeScrub>(disk_, range_); }
  std::uint64_t disk_bytes() const override { return 3000 + log_bytes(); }
  std::uint64_t log_bytes() const override {
    std::uint64_t bytes = 0;
    for (const LogEntryPtr& entry : files().log) bytes += entry->payload.size();
    return bytes;
  }
  bool damaged() const override { return damaged_; }
  void trim() { trim(*disk_, files()); }
  static void trim(const FakeDisk& disk, RangeFiles& files) {
    while (files.log.size() > disk.log_keep && files.start.lsn.value + disk.log_keep < files.applied.lsn.value) {
      files.start = files.log.front()->at;
      files.log.erase(files.log.begin());
      --files.synced;
    }
  }

 private:
  RangeFiles& files() const { return disk_->ranges.at(range_); }
  const std::shared_ptr<FakeDisk> disk_;
  const RangeId range_;
  bool damaged_{false};
  std::weak_ptr<FakeDatabase> database_;
};

inline Result<Lsn> FakeDatabase::checkpoint() {
  if (!view_.expired()) return Error(Errc::kObjectInUse, "a view is being read");
  TRY(sink_.wait_all_durable());
  RangeFiles& files = disk_->ranges.at(range_);
  files.applied = *files.at(sink_.assigned());
  FakeReplica::trim(*disk_, files);
  return files.applied.lsn;
}

class FakeStore final : public storage::ReplicaStore {
 public:
  explicit FakeStore(std::shared_ptr<FakeDisk> disk) : disk_(std::move(disk)) {}
  using Opened = Result<std::unique_ptr<storage::Replica>>;

  std::vector<storage::ReplicaIdentity> list() const override {
    std::vector<storage::ReplicaIdentity> out;
    for (const auto& [id, files] : disk_->ranges) out.push_back(files.identity);
    return out;
  }
  Opened create(const storage::ReplicaIdentity& identity) override {
    if (disk_->ranges.contains(identity.range)) return Error(Errc::kAlreadyExists, "exists");
    disk_->ranges[identity.range].identity = identity;
    return open(identity.range);
  }
  Opened open(RangeId range) override {
    if (disk_->distrusted.contains(range)) return Error(Errc::kCorrupt, "the disk failed before");
    return std::unique_ptr<storage::Replica>(std::make_unique<FakeReplica>(disk_, range));
  }
  Result<std::uint64_t> receive_snapshot(const storage::ReplicaIdentity& identity, const storage::SnapshotPoint& point,
                                         std::uint64_t, std::uint64_t offset, std::string_view data) override {
    disk_->ranges[identity.range].incoming = point.at;
    return offset + data.size();
  }
  Opened finish_snapshot(const storage::ReplicaIdentity& identity, const storage::SnapshotPoint& point) override {
    if (!disk_->ranges.contains(identity.range)) return Error(Errc::kNotFound, "nothing was received");
    RangeFiles& files = disk_->ranges.at(identity.range);
    if (files.incoming != point.at) return Error(Errc::kIo, "another snapshot was received");
    files = RangeFiles{.identity = identity, .start = point.at, .applied = point.at};
    return open(identity.range);
  }
  Result<void> remove(RangeId range) override {
    if (disk_->in_use > 0 && disk_->in_use-- > 0) return Error(Errc::kInvalidState, "the replica is open already");
    disk_->ranges.erase(range);
    disk_->flipped.erase(range);
    disk_->distrusted.erase(range);
    return {};
  }
  Result<void> distrust(RangeId range) override {
    if (disk_->ranges.contains(range)) disk_->distrusted.insert(range);
    return {};
  }
  Opened salvage(RangeId range) override {
    if (disk_->distrusted.erase(range) == 0) return Error(Errc::kNotFound, "there is no mark");
    return open(range);
  }

 private:
  const std::shared_ptr<FakeDisk> disk_;
};

/// One thing after another, each after a while: a store's log thread, or its worker.
class SlowQueue {
 public:
  SlowQueue(Loop& loop, Random& random, std::uint64_t micros_max) : loop_(loop), random_(random), max_(micros_max) {}
  void push(Task task) {
    busy_until_ = std::max(busy_until_, loop_.now()) + std::chrono::microseconds(1 + random_.below(max_));
    loop_.after(busy_until_ - loop_.now(), std::move(task));
  }

 private:
  Loop& loop_;
  Random& random_;
  const std::uint64_t max_;
  Instant busy_until_{};
};

class FakeLogWriter final : public storage::LogWriter {
 public:
  FakeLogWriter(Loop& loop, Random& random) : queue_(loop, random, 800) {}
  void submit(storage::Replica& replica, std::vector<LogEntryPtr> entries, Callback<Lsn> synced) override {
    auto appended = std::make_shared<Result<void>>();
    queue_.push([&replica, entries, appended] { *appended = replica.append(entries); });
    queue_.push([&replica, appended, end = entries.back()->at.lsn, synced = std::move(synced)]() mutable {
      if (!appended->ok()) return synced(appended->error());
      const auto result = replica.sync();
      synced(result.ok() ? Result<Lsn>(end) : Result<Lsn>(result.error()));
    });
  }
  void run(storage::Replica&, Task task) override { queue_.push(std::move(task)); }

 private:
  SlowQueue queue_;
};

class FakeWorkers final : public Workers {
 public:
  FakeWorkers(Loop& loop, Random& random) : queue_(loop, random, 2000) {}
  void submit(std::uint64_t, Task task) override { queue_.push(std::move(task)); }

 private:
  SlowQueue queue_;
};

}  // namespace outlast::replication::testing
