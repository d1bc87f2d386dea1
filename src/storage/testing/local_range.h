#pragma once
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "storage/commit_sink.h"
#include "storage/database.h"
#include "storage/log_format.h"
#include "storage/replica.h"

namespace outlast::storage::testing {

/// A range with one replica, as replication would lead it: commits get their LSN at once and are appended and synced
/// by flush(). For tests of one thread.
class LocalSink final : public CommitSink {
 public:
  explicit LocalSink(Replica& replica, Epoch epoch = Epoch(1))
      : replica_(replica), epoch_(epoch), end_(replica.log_end()), durable_(end_.lsn) {}
  Result<Lsn> commit(CommitPages pages) override {
    if (refuse_.has_value()) return *refuse_;
    auto entry = std::make_shared<LogEntry>();
    entry->prev = end_;
    entry->payload = encode(pages);
    entry->at = {end_.lsn.next(), epoch_, entry_checksum(end_.lsn.next(), epoch_, end_, entry->payload)};
    end_ = entry->at;
    pages_ += pages.pages.size();
    queue_.push_back(std::move(entry));
    return end_.lsn;
  }
  void commit_dropped(Lsn lsn) override { dropped_ = lsn; }
  Result<void> wait_all_durable() override {
    if (auto meanwhile = std::exchange(meanwhile_, nullptr)) meanwhile();
    return refuse_durable_.has_value() ? Result<void>(*refuse_durable_) : flush();
  }
  Lsn assigned() const override { return end_.lsn; }

  Result<void> flush() {
    if (queue_.empty()) return {};
    TRY(replica_.append(queue_));
    queue_.clear();
    TRY(replica_.sync());
    durable_ = end_.lsn;
    return {};
  }
  Lsn durable() const override { return durable_; }
  std::uint64_t pages() const { return pages_; }
  Lsn dropped() const { return dropped_; }
  void refuse(std::optional<Error> error) { refuse_ = std::move(error); }
  void refuse_durable(std::optional<Error> error) { refuse_durable_ = std::move(error); }
  /// Runs once, in the next wait of a checkpoint.
  void meanwhile(std::function<void()> work) { meanwhile_ = std::move(work); }

 private:
  Replica& replica_;
  const Epoch epoch_;
  LogPosition end_;
  Lsn durable_, dropped_;
  std::vector<LogEntryPtr> queue_;
  std::uint64_t pages_{0};
  std::optional<Error> refuse_, refuse_durable_;
  std::function<void()> meanwhile_;
};

/// Runs SQL without results; SQLite's code.
int run_sql(Connection& connection, const std::string& sql);
/// First column of the first row as text; "" when there is none, "error: ..." when it fails.
std::string query(sqlite3* db, const std::string& sql);
/// Hash over the schema and all rows, through SQL.
std::uint32_t content_digest(sqlite3* db);
/// A seed from OUTLAST_SEED, else `otherwise`; printed by the tests that use it.
std::uint64_t seed_or(std::uint64_t otherwise);

}  // namespace outlast::storage::testing
