#pragma once
#include <memory>
#include <mutex>

#include "storage/database_impl.h"
#include "storage/replica.h"
#include "storage/replica_files.h"
#include "storage/replica_scrub.h"

namespace outlast::storage {

/// See Replica. `in_use` is held as long as the object lives: the store refuses a second one.
class ReplicaImpl final : public Replica {
 public:
  ReplicaImpl(std::shared_ptr<ReplicaFiles> files, std::shared_ptr<void> in_use)
      : files_(std::move(files)), in_use_(std::move(in_use)) {}
  /// Decodes what the log holds. To be called once, before anything else.
  Result<void> load_config();

  LogPosition log_end() const override { return files_->log->end(); }
  LogPosition log_start() const override { return files_->log->start(); }
  Result<void> append(std::span<const LogEntryPtr> entries) override { return files_->log->append(entries); }
  Result<void> sync() override { return files_->log->sync(); }
  Result<std::vector<LogEntryPtr>> read(Lsn after, std::size_t bytes_max) override {
    return files_->log->read(after, bytes_max);
  }
  Result<LogPosition> position_at(Lsn lsn) override { return files_->log->position_at(lsn); }
  Result<void> cut_after(Lsn lsn) override;
  Result<void> record_config(const placement::RangeConfig& config) override;
  std::optional<placement::RangeConfig> recorded_config() const override;

  Lsn applied() const override { return files_->mark().lsn; }
  Result<void> apply_to(Lsn durable) override;
  Result<std::shared_ptr<Database>> open_database(CommitSink& sink) override;
  Result<std::unique_ptr<SnapshotSource>> snapshot() override;
  Result<Digest> digest() override;
  std::unique_ptr<Scrub> start_scrub() override { return std::make_unique<ReplicaScrub>(files_); }
  std::uint64_t disk_bytes() const override;
  std::uint64_t log_bytes() const override { return files_->log->bytes(); }
  bool damaged() const override { return files_->log->damaged() || files_->file_damaged; }

 private:
  Result<void> check_usable() const;
  Result<void> check_clean() const;
  Error damage(Error error);
  std::string snapshot_path();

  const std::shared_ptr<ReplicaFiles> files_;
  const std::shared_ptr<void> in_use_;
  std::weak_ptr<DatabaseImpl> database_;  // of the file calls' thread
  mutable std::mutex config_mutex_;
  std::optional<placement::RangeConfig> config_;
};

}  // namespace outlast::storage
