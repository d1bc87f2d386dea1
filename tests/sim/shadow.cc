#include "tests/sim/shadow.h"

namespace outlast::sim {
namespace {
using storage::LogEntryPtr;
using storage::Replica;
using storage::ReplicaIdentity;
using storage::SnapshotPoint;

class WatchedReplica final : public Replica {
 public:
  WatchedReplica(std::unique_ptr<Replica> real, RangeId range, DiskShadow& disk)
      : real_(std::move(real)), range_(range), disk_(disk) {}

  LogPosition log_end() const override { return real_->log_end(); }
  LogPosition log_start() const override { return real_->log_start(); }
  Result<void> append(std::span<const LogEntryPtr> entries) override {
    auto result = real_->append(entries);
    const Lsn end = real_->log_end().lsn;
    for (const LogEntryPtr& entry : entries) {
      if (entry->at.lsn > end) break;
      if (Shadow* mine = shadow(); mine != nullptr && entry->prev == mine->end()) mine->log.push_back(entry->at);
      disk_.on_append(range_, *entry);
    }
    return result;
  }
  Result<void> sync() override {
    auto result = real_->sync();
    if (Shadow* mine = shadow(); mine != nullptr && result.ok()) mine->synced = mine->log.size();
    return result;
  }
  Result<std::vector<LogEntryPtr>> read(Lsn after, std::size_t bytes_max) override {
    return real_->read(after, bytes_max);
  }
  Result<LogPosition> position_at(Lsn lsn) override { return real_->position_at(lsn); }
  Result<void> cut_after(Lsn lsn) override {
    Shadow* mine = shadow();
    const std::size_t kept = mine == nullptr || lsn < mine->start.lsn ? 0 : lsn.value - mine->start.lsn.value;
    // A cut that a crash interrupts may be done or not: from here on only what stays is owed.
    if (mine != nullptr) mine->synced = std::min(mine->synced, kept);
    auto result = real_->cut_after(lsn);
    if (mine != nullptr && result.ok()) {
      mine->log.resize(std::min(mine->log.size(), kept));
      mine->synced = mine->log.size();
    }
    return result;
  }
  Result<void> record_config(const placement::RangeConfig& config) override {
    auto result = real_->record_config(config);
    if (Shadow* mine = shadow(); mine != nullptr && result.ok()) mine->synced = mine->log.size();
    return result;
  }
  std::optional<placement::RangeConfig> recorded_config() const override { return real_->recorded_config(); }
  Lsn applied() const override { return real_->applied(); }
  Result<void> apply_to(Lsn durable) override {
    if (Shadow* mine = shadow(); mine != nullptr && durable > mine->applied.lsn) note_apply(*mine, durable);
    return real_->apply_to(durable);
  }
  Result<std::shared_ptr<storage::Database>> open_database(storage::CommitSink& sink) override {
    if (Shadow* mine = shadow()) note_apply(*mine, mine->end().lsn);
    return real_->open_database(sink);
  }
  Result<std::unique_ptr<storage::SnapshotSource>> snapshot() override { return real_->snapshot(); }
  Result<storage::Digest> digest() override { return real_->digest(); }
  std::uint64_t disk_bytes() const override { return real_->disk_bytes(); }
  bool damaged() const override { return real_->damaged(); }

 private:
  Shadow* shadow() {
    const auto it = disk_.ranges.find(range_);
    return it == disk_.ranges.end() ? nullptr : &it->second;
  }
  void note_apply(Shadow& mine, Lsn upto) {
    const auto at = mine.at(std::min(upto, mine.synced_end().lsn));
    if (!at) return;
    mine.applied = *at;
    disk_.on_apply(range_, *at);
  }
  const std::unique_ptr<Replica> real_;
  const RangeId range_;
  DiskShadow& disk_;
};

class WatchedStore final : public storage::ReplicaStore {
 public:
  using Opened = Result<std::unique_ptr<Replica>>;
  WatchedStore(std::unique_ptr<storage::ReplicaStore> real, DiskShadow& disk) : real_(std::move(real)), disk_(disk) {}

  std::vector<ReplicaIdentity> list() const override { return real_->list(); }
  Opened create(const ReplicaIdentity& identity) override {
    auto made = real_->create(identity);
    if (!made.ok()) return made;
    disk_.ranges[identity.range] = Shadow{.identity = identity, .start = {}, .log = {}, .applied = {}};
    return wrap(std::move(made), identity.range);
  }
  Opened open(RangeId range) override {
    auto opened = real_->open(range);
    if (opened.ok()) compare(range, **opened);
    return wrap(std::move(opened), range);
  }
  Result<std::uint64_t> receive_snapshot(const ReplicaIdentity& identity, const SnapshotPoint& point,
                                         std::uint64_t file_size, std::uint64_t offset,
                                         std::string_view data) override {
    return real_->receive_snapshot(identity, point, file_size, offset, data);
  }
  Opened finish_snapshot(const ReplicaIdentity& identity, const SnapshotPoint& point) override {
    disk_.ranges.erase(identity.range);  // until it is known which of the two is there
    auto made = real_->finish_snapshot(identity, point);
    if (!made.ok()) return made;
    disk_.ranges[identity.range] = Shadow{.identity = identity, .start = point.at, .log = {}, .applied = point.at};
    return wrap(std::move(made), identity.range);
  }
  Result<void> remove(RangeId range) override {
    disk_.ranges.erase(range);
    return real_->remove(range);
  }
  Result<void> distrust(RangeId range) override { return real_->distrust(range); }
  Opened salvage(RangeId range) override {
    auto opened = real_->salvage(range);
    if (opened.ok()) compare(range, **opened);
    return wrap(std::move(opened), range);
  }

 private:
  Opened wrap(Opened opened, RangeId range) {
    if (!opened.ok()) return opened;
    return std::unique_ptr<Replica>(std::make_unique<WatchedReplica>(*std::move(opened), range, disk_));
  }

  /// After a restart: what was synced must be there; what else is there is taken in.
  void compare(RangeId range, Replica& replica) {
    ReplicaIdentity identity;
    for (const ReplicaIdentity& listed : real_->list())
      if (listed.range == range) identity = listed;
    auto known = disk_.ranges.find(range);
    if (known == disk_.ranges.end() || known->second.identity.replica != identity.replica) {
      Shadow fresh{.identity = identity, .start = replica.log_start(), .log = {}, .applied = {}};
      known = disk_.ranges.insert_or_assign(range, fresh).first;
    }
    Shadow& mine = known->second;
    mine.log.resize(mine.synced);
    const LogPosition owed = mine.synced_end();
    const auto there = replica.position_at(owed.lsn);
    if (!mine.damaged && (replica.log_end().lsn < owed.lsn || (there.ok() && *there != owed)))
      return disk_.on_broken("range " + range.to_string() + ": synced entries up to " + owed.lsn.to_string() +
                             " are gone after a restart; the log ends at " + replica.log_end().lsn.to_string());
    if (mine.damaged) mine = Shadow{.identity = identity, .start = replica.log_start(), .log = {}, .damaged = true};
    for (Lsn lsn = mine.end().lsn.next(); lsn <= replica.log_end().lsn; lsn = lsn.next()) {
      auto position = replica.position_at(lsn);
      if (!position.ok()) break;
      mine.log.push_back(*position);
    }
    mine.synced = mine.log.size();
  }

  const std::unique_ptr<storage::ReplicaStore> real_;
  DiskShadow& disk_;
};

}  // namespace

std::unique_ptr<storage::ReplicaStore> watch_store(std::unique_ptr<storage::ReplicaStore> real, DiskShadow& shadow) {
  return std::make_unique<WatchedStore>(std::move(real), shadow);
}

}  // namespace outlast::sim
